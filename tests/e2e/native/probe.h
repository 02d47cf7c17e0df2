/* What the files of the probe share. A probe is a function that returns when all was as it should
 * be; need() and its kin end the process with a message and status 1 when not.
 */
#ifndef NATIVE_PROBE_H
#define NATIVE_PROBE_H

#include "native.h"

#include <mtcp_client.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
	PATIENCE_MS = 60000, /* with a busy machine */
};

struct probe {
	const char *name;
	void (*run)(void);
};
extern const struct probe probe_streams[], probe_ends[], probe_names[], probe_masses[];

/* The command line: where the peer is, and numbers that some probes take. */
extern struct sockaddr_in peer_addr;
extern unsigned long arg_number[2];

_Noreturn void probe_fail(const char *file, int line, const char *what, long seen, long expected);

/* The condition holds. */
#define need(condition)                                                                            \
	do {                                                                                       \
		if (!(condition))                                                                  \
			probe_fail(__FILE__, __LINE__, #condition, 0, 1);                          \
	} while (0)

/* The expression has this value. */
#define need_equal(expression, expected)                                                           \
	do {                                                                                       \
		long seen_ = (long)(expression), expected_ = (long)(expected);                     \
		if (seen_ != expected_)                                                            \
			probe_fail(__FILE__, __LINE__, #expression, seen_, expected_);             \
	} while (0)

/* The call fails with this errno. */
#define need_errno(call, error)                                                                    \
	do {                                                                                       \
		errno = 0;                                                                         \
		need_equal(call, -1);                                                              \
		need_equal(errno, error);                                                          \
	} while (0)

static inline const struct sockaddr *sa_of(const struct sockaddr_in *sin)
{
	return (const struct sockaddr *)sin;
}

uint64_t now_ms(void);
int open_socket(int flags); /* a socket; SOCK_NONBLOCK or 0 */
int open_to_peer(void);	    /* blocking, connected */
int ask(uint32_t mode, uint32_t seed, uint64_t bytes, uint32_t delay_ms); /* with the request */
void open_gate(uint32_t connections, uint32_t delay_ms); /* of the peer, see native.h */
void send_exactly(int sd, const void *data, size_t len);
void recv_exactly(int sd, void *data, size_t len);
void send_pattern(int sd, uint32_t seed, uint64_t pos, uint64_t len);
void recv_pattern(int sd, uint32_t seed, uint64_t pos, uint64_t len);
int so_error(int sd);
short poll_one(int sd, short events, int timeout_ms); /* revents, 0 after the time */

#endif
