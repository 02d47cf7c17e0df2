/* Congestion control: how much may be in flight.
 *
 * Loss recovery (loss.c) says when something was lost and keeps cwnd during recovery; an
 * algorithm says how far to back off and how to grow. Algorithms are constant tables named
 * by an index in the control block, since pointers do not live there.
 */
#ifndef TCP_CC_H
#define TCP_CC_H

#include <tcp/conn.h>

enum tcp_cc_id { TCP_CC_NEWRENO, TCP_CC_COUNT };

struct tcp_cc_ops {
	const char *name;
	/* Clears its own state; cwnd and ssthresh are set by the caller. */
	void (*init)(struct tcp_conn *c);
	/* The slow start threshold after a loss with `flight_bytes` in flight, bytes. */
	uint32_t (*ssthresh)(const struct tcp_conn *c, uint64_t flight_bytes);
	/* Grows cwnd: acked_bytes were acknowledged outside recovery while cwnd was in use. */
	void (*acked)(struct tcp_conn *c, uint32_t acked_bytes, uint64_t now_us);
};
extern const struct tcp_cc_ops tcp_cc_newreno;

enum {
	TCP_CWND_MAX_BYTES = 1 << 30, /* the largest window there is (RFC 7323 section 2.3) */
};

const struct tcp_cc_ops *tcp_cc_of(const struct tcp_conn *c);

/* RFC 6928 section 2: ten segments; one after a SYN that was lost more than once. Bytes. */
uint32_t tcp_cc_initial_window(const struct tcp_conn *c);

/* The connection is about to be established: cwnd = initial window, no threshold. */
void tcp_cc_start(struct tcp_conn *c);

/* RFC 5681 section 4.1: nothing was sent for longer than a time-out. */
void tcp_cc_idle(struct tcp_conn *c);

#endif
