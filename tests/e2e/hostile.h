/* A client of mtcpd that speaks the protocol by itself, and lies where it likes.
 *
 * It knows proto/ and shm/ only: what libmtcp-client would never send can be sent. The program
 * runs as an unprivileged user; each case is a function that ends with 0 if the daemon did what it
 * must (condemn the session for the right reason, or bear it), else 1. What a case measures or
 * misses it prints.
 */
#ifndef HOSTILE_H
#define HOSTILE_H

#include <proto/attach.h>
#include <proto/layout.h>
#include <proto/slot.h>
#include <shm/doorbell.h>
#include <shm/ring.h>
#include <shm/segment.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum {
	HOSTILE_PATIENCE_MS = 20000, /* with a busy machine */
	HOSTILE_FDS_MAX = 2 + PROTO_CONTEXTS_MAX + PROTO_ENGINES_MAX,
	HOSTILE_RUN_MS = 1000, /* how long cases last that only make trouble */
};

struct hostile {
	int sock;
	struct proto_msg_attached a;
	struct proto_layout layout;
	int fds[HOSTILE_FDS_MAX]; /* as they came: down, up, doorbells, eventfds */
	unsigned int fd_count;
	struct shm_segment down, up;
	struct shm_ring_prod subs; /* context 0, engine 0 */
	struct shm_ring_cons comps;
	uint32_t request;
};

struct hostile_args {
	const char *socket;
	uint8_t target[16]; /* an echo server, IPv4-mapped */
	uint16_t target_port;
};
extern struct hostile_args hostile_args;

/* -- hostile_session.c -- */

/* A connected socket that has sent nothing. Exits on failure. */
int hostile_dial(void);
/* Attaches; 0 or -errno as the daemon answered. */
int hostile_try_attach(struct hostile *h);
void hostile_attach(struct hostile *h);	       /* exits on failure */
void hostile_detach(struct hostile *h);	       /* closes and unmaps all */
int hostile_bell_fd(const struct hostile *h);  /* of context 0 */
int hostile_event_fd(const struct hostile *h); /* of engine 0 */
_Atomic uint32_t *hostile_sleeping(const struct hostile *h);
_Atomic uint32_t *hostile_cons_idx(const struct hostile *h); /* of the completion ring */
uint8_t *hostile_payload(const struct hostile *h, proto_ref *ref);

/* Asks for another segment of `down`; its descriptor, where it begins and its length. Exits on
 * failure. */
int hostile_grow(struct hostile *h, proto_ref *ref, uint64_t *bytes);

/* Pushes a slot and wakes the engine if it does not look. False if the ring stays full for
 * HOSTILE_PATIENCE_MS, or the session has ended. */
bool hostile_push(struct hostile *h, const struct proto_slot *s);
bool hostile_try_push(struct hostile *h, const struct proto_slot *s); /* does not wait */
void hostile_wake(const struct hostile *h);
/* The next completion. */
bool hostile_pop(struct hostile *h, struct proto_slot *out, unsigned int timeout_ms);
/* Pops until an event of this kind comes. */
bool hostile_await(struct hostile *h, uint8_t event, struct proto_slot *out);

/* An established connection to the echo server; exits on failure. */
struct proto_handle hostile_connect(struct hostile *h);
/* Sends len bytes of the payload area at pos of the stream. */
bool hostile_send(struct hostile *h, struct proto_handle sk, uint64_t pos, uint32_t len);

/* Waits until the daemon ends the session and tells why, PROTO_OK if it does not. */
enum proto_condemned hostile_ended(struct hostile *h);
/* 0 if the session was ended for this reason; prints. Detaches. */
int hostile_expect(struct hostile *h, enum proto_condemned reason, const char *what);
/* 0 if the session is alive and answers; prints. Detaches. */
int hostile_expect_alive(struct hostile *h, const char *what);

uint64_t hostile_now_us(void);
uint32_t hostile_random(void);
void hostile_die(const char *what) __attribute__((noreturn));

/* -- the cases: hostile_slots.c, hostile_rings.c, hostile_fds.c, hostile_control.c -- */

int case_operations(void);
int case_references(void);
int case_positions(void);
int case_handles(void);
int case_generations(void);
int case_slots(void);
int case_descriptors(void);

int case_index_ahead(void);
int case_index_back(void);
int case_index_random(void);
int case_deaf(void);
int case_never_sleeps(void);
int case_never_wakes(void);
int case_epoll_storm(void);
int case_epoll_storm_alone(void);
int case_bells(void);

int case_holes(void);
int case_holes_drained(void);
int case_read_only(void);
int case_jammed(void);
int case_closed(void);
int case_passed_on(void);
int case_messages_with_fds(void);

int case_malformed(void);
int case_unread(void);
int case_requests(void);
int case_crashes(void);
int case_lingerers(void);

#endif
