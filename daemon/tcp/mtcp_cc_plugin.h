/* The interface of a congestion control plug-in: a shared object that exports
 *
 *     const struct mtcp_cc_plugin mtcp_cc_plugin = { .abi = MTCP_CC_PLUGIN_ABI, ... };
 *
 * mtcpd loads the one that [tcp] congestion_plugin names and calls it on its engines' threads, for
 * one connection at a time and for each from one thread only. A call gets a view of the
 * connection: a copy, of which cwnd, ssthresh, pacing_rate and state are taken back, within
 * bounds. A plug-in must not block, allocate, or keep the view; what it has to remember of a
 * connection is `state`, zeroed before init. It runs inside the daemon: it can break everything,
 * which is why mtcpd loads only what root alone can write.
 *
 * This header includes nothing of mtcpd's. Any change to it changes MTCP_CC_PLUGIN_ABI.
 */
#ifndef MTCP_CC_PLUGIN_H
#define MTCP_CC_PLUGIN_H

#include <stdint.h>

#define MTCP_CC_PLUGIN_ABI    1u
#define MTCP_CC_PLUGIN_SYMBOL "mtcp_cc_plugin"

enum {
	MTCP_CC_NAME_BYTES = 16, /* the NUL counted */
	MTCP_CC_STATE_WORDS = 4,
};

enum mtcp_cc_why {
	MTCP_CC_LOSS,
	MTCP_CC_ECN,
	MTCP_CC_TIMEOUT,
};

struct mtcp_cc_view {
	uint64_t state[MTCP_CC_STATE_WORDS]; /* the plug-in's own */
	uint32_t mss;			     /* bytes, as all sizes */
	uint32_t cwnd;			     /* taken back: mss to 2^30 */
	uint32_t ssthresh;		     /* taken back: 2 mss to 2^30 */
	uint32_t pacing_rate;		     /* taken back: bytes a second; 0: not paced */
	uint32_t flight;		     /* what is in the network */
	uint32_t srtt_us, min_rtt_us;	     /* 0: not known yet */
	uint32_t reserved;
};

struct mtcp_cc_plugin {
	uint32_t abi;		       /* MTCP_CC_PLUGIN_ABI */
	uint32_t size;		       /* sizeof(struct mtcp_cc_plugin) */
	char name[MTCP_CC_NAME_BYTES]; /* letters, digits, '-', '_'; for TCP_CONGESTION */
	/* A connection is established, or changes over to this control. */
	void (*init)(struct mtcp_cc_view *v);
	/* acked_bytes were acknowledged outside recovery while cwnd was in use; rtt_us 0: no
	 * sample. */
	void (*acked)(
		struct mtcp_cc_view *v, uint32_t acked_bytes, uint32_t rtt_us, uint64_t now_us);
	/* Returns the new ssthresh. */
	uint32_t (*ssthresh)(struct mtcp_cc_view *v, enum mtcp_cc_why why);
	/* The last ssthresh() was for nothing. May be NULL. */
	void (*undo)(struct mtcp_cc_view *v);
};

#endif
