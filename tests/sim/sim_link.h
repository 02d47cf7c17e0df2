/* A link between two ports, with everything that links do to frames.
 *
 * Frames are copied in and handed out as blocks of exactly their size, so that a sanitizer sees
 * a read past one. Each direction has its own profile, and a queue ordered by the time of
 * arrival: serialisation at the rate, then delay, then for some frames a further delay, by
 * which they fall behind their successors.
 * ARP and neighbour discovery are spared (profile.spare_arp): a connection that fails because three
 * requests were lost tells nothing about TCP. A profile may change at any time, as a path does.
 *
 * Damage is one flipped bit, or an end cut off: what the checksums of IPv4 and TCP are sure to
 * notice. More flips can cancel out in a 16-bit sum, which on a real link the frame check
 * sequence would catch.
 */
#ifndef SIM_LINK_H
#define SIM_LINK_H

#include "sim_rng.h"

#include <stddef.h>

struct sim_profile {
	uint32_t loss_ppm;
	uint32_t burst_max; /* a loss takes up to so many frames right behind it along */
	/* Gilbert and Elliott: a bad state, how often it is entered and left with a frame, and what
	 * is lost while it lasts, which is BURST_US at most. */
	uint32_t bad_enter_ppm, bad_leave_ppm, bad_loss_ppm;
	uint32_t duplicate_ppm;
	uint32_t duplicate_us; /* at most so much later, the copy */
	uint32_t reorder_ppm;
	uint32_t corrupt_ppm;
	uint32_t delay_us;
	uint32_t reorder_us;	  /* at most so much further delay */
	uint64_t rate_bytes_s;	  /* 0: infinite */
	uint64_t queue_max_bytes; /* tail drop of what is under way; 0: no limit */
	uint64_t buffer_bytes;	  /* tail drop of what waits to be sent; 0: no limit */
	uint64_t mark_bytes;	  /* CE on ECT when more waits than that; 0: never */
	uint32_t mark_ppm;	  /* CE on ECT at random */
	uint32_t mtu_bytes;	  /* longer packets are dropped; 0: none are */
	bool mtu_told;		  /* and their sender hears of it */
	bool spare_arp;
};

struct sim_frame {
	uint64_t at_us;
	uint64_t order; /* of frames that arrive at the same time */
	uint32_t len_bytes;
	uint8_t data[];
};

struct sim_way {
	struct sim_profile profile;
	struct sim_frame **heap; /* earliest first */
	uint32_t count, capacity;
	uint64_t busy_until_us;	  /* when the last frame has left the sender */
	uint64_t queued_bytes;	  /* not yet arrived */
	uint64_t losing;	  /* so many frames more are lost ... */
	uint64_t losing_until_us; /* ... if they come before */
	uint64_t bad_until_us;	  /* the bad state lasts, unless it is left before */
	bool cut;		  /* all frames but the spared are lost */
};

struct sim_link_stats {
	uint64_t sent, lost, overflowed, duplicated, reordered, corrupted, delivered, marked,
		too_big;
};

/* Sees every frame as its sender hands it over, before anything happens to it. */
typedef void sim_tap_fn(void *arg, uint64_t now_us, int side, const uint8_t *frame, uint32_t len);

struct sim_link {
	struct sim_rng rng;
	uint64_t now_us; /* moved by the owner */
	uint64_t next_order;
	struct sim_way way[2]; /* from side i */
	struct sim_link_stats stats;
	sim_tap_fn *tap;
	sim_tap_fn *arrival; /* sees them as they are received, with the side that sent them */
	void *tap_arg;
};

void sim_link_init(struct sim_link *l, uint64_t seed, const struct sim_profile *profile);
void sim_link_fini(struct sim_link *l);

void sim_link_send(struct sim_link *l, int side, const uint8_t *frame, uint32_t len);
/* The next frame that has arrived at `side` by now, or NULL. The caller frees it. */
struct sim_frame *sim_link_receive(struct sim_link *l, int side);
/* When the next frame arrives anywhere; UINT64_MAX: nothing is under way. */
uint64_t sim_link_next_us(const struct sim_link *l);
/* The same of frames to `side`. */
uint64_t sim_link_arrives_us(const struct sim_link *l, int side);

#endif
