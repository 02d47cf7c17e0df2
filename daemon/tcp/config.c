/* The defaults, and where they come from. Sizes assume Ethernet until the port says else. */
#include <tcp/cc.h>

enum {
	MS = 1000,
	S = 1000 * 1000,
};

void tcp_config_default(struct tcp_config *cfg)
{
	*cfg = (struct tcp_config){
		.mss_max_bytes = 1460,	/* MTU 1500 less 40: RFC 9293 section 3.7.1 */
		.mss6_max_bytes = 1440, /* less 60 */
		.mss_min_bytes = 48,
		.tso_max_bytes = 0,
		.rto_min_us = 200 * MS,	 /* RFC 6298 2.4 says 1 s; all stacks use less */
		.rto_max_us = 60 * S,	 /* RFC 6298 2.5 */
		.rto_initial_us = 1 * S, /* RFC 6298 2.1 */
		.delack_us = 40 * MS,	 /* RFC 9293 3.8.6.3 */
		.msl_us = 30 * S,	 /* RFC 9293 3.4.2 says 2 min; as Linux does */
		.fin_wait_2_us = 60 * S,
		.keepalive_idle_us = UINT64_C(7200) * S, /* RFC 9293 3.8.4 */
		.keepalive_intvl_us = 75 * S,
		.keepalive_probes = 9,
		.syn_retries = 6, /* RFC 9293 3.8.3: at least 3 min for a SYN */
		.synack_retries = 5,
		.data_retries = 15, /* RFC 9293 3.8.3: R2 at least 100 s */
		.orphan_retries = 8,
		.rcvbuf_bytes = 128 * 1024,
		.rcvbuf_max_bytes = 6 * 1024 * 1024,
		.challenge_ack_per_s = 1000,
		.ecn = TCP_ECN_PASSIVE,
		.mtu_probing = TCP_MTU_BLACK_HOLE,
		.cc_agent_interval_us = 1 * MS,
		.cc = TCP_CC_CUBIC,
		.timestamps = true,
		.window_scale = true,
		.sack = true,
	};
}
