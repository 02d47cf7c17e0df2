/* What BBR remembers of a connection, in a block of its own. Gains are in units of 1/256. */
#ifndef TCP_CC_BBR_H
#define TCP_CC_BBR_H

#include <tcp/cc_rate.h>

enum tcp_bbr_state {
	TCP_BBR_STARTUP,
	TCP_BBR_DRAIN,
	TCP_BBR_DOWN, /* the four of ProbeBW, in their order */
	TCP_BBR_CRUISE,
	TCP_BBR_REFILL,
	TCP_BBR_UP,
	TCP_BBR_PROBE_RTT,
};

/* Where the ACKs stand of what was sent while probing for bandwidth. */
enum tcp_bbr_acks {
	TCP_BBR_ACKS_INIT,
	TCP_BBR_ACKS_REFILLING,
	TCP_BBR_ACKS_STARTING,
	TCP_BBR_ACKS_FEEDBACK,
	TCP_BBR_ACKS_STOPPING,
};

struct tcp_bbr {
	struct tcp_rate rate;

	/* The path: section 2. */
	uint64_t max_bw[2];   /* of this probing cycle and the one before, bytes a second */
	uint64_t bw_lo;	      /* UINT64_MAX: no bound */
	uint64_t inflight_lo; /* bytes, likewise */
	uint64_t inflight_hi;
	uint64_t bw_latest, inflight_latest;
	uint64_t extra_acked[2]; /* of the last rounds and those before */
	uint64_t extra_start_us, extra_delivered;
	uint64_t min_rtt_stamp_us, probe_rtt_stamp_us;
	uint64_t probe_rtt_done_us; /* 0: not known yet */
	uint32_t min_rtt_us, probe_rtt_min_us;

	/* Rounds. */
	uint64_t next_round_delivered, loss_round_delivered, probe_rtt_round_end;
	uint64_t round_count;
	uint32_t extra_rounds;
	bool round_start, loss_round_start;

	/* Startup. */
	bool full_bw_reached;
	uint8_t full_bw_count;
	bool loss_in_round;
	uint8_t losses_in_round;
	uint64_t full_bw;

	/* ProbeBW. */
	uint64_t cycle_stamp_us, probe_wait_us;
	uint64_t probe_up_acks, probe_up_cnt;
	uint32_t rounds_since_probe;
	uint8_t state; /* enum tcp_bbr_state */
	uint8_t acks;  /* enum tcp_bbr_acks */
	uint8_t probe_up_rounds;
	bool probe_samples;

	uint32_t pacing_gain, cwnd_gain;
	uint32_t cwnd;		     /* recovery may change the connection's */
	uint32_t timeouts, backoffs; /* not yet heeded */
	uint32_t prior_cwnd;
	uint32_t timeouts_seen, backoffs_seen;
	bool conserve; /* first round of a recovery: packet conservation */
	uint64_t conserve_until;
};
static_assert(sizeof(struct tcp_bbr) <= TCP_CC_BLOCK_BYTES, "fits its block");

#endif
