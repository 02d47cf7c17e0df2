/* TCP options: the one iterator, the one encoder, and what the values mean.
 *
 * Which option is legal where, and what happens elsewhere:
 *
 *   kind  name            bytes  legal in           elsewhere     source
 *   0, 1  end, no-op      1      any                              RFC 9293 section 3.2
 *   2     MSS             4      SYN                ignored       RFC 9293 section 3.7.1
 *   3     window scale    3      SYN                ignored       RFC 7323 section 2.2
 *   4     SACK permitted  2      SYN                ignored       RFC 2018 section 2
 *   5     SACK            2+8n   not SYN, with ACK  ignored       RFC 2018 section 3
 *   8     timestamps      10     any but RST        ignored       RFC 7323 section 3.2
 *   34    fast open       2, 6+  SYN                ignored       RFC 7413 section 2.1
 *   else                  >= 2   any                skipped       RFC 9293 section 3.1 MUST-6
 *
 * An option whose length byte is below 2, missing, or past the header makes the whole
 * segment malformed (MUST-7): nothing behind it can be trusted to be an option. A known
 * option of a wrong but consistent length is skipped like an unknown one. If an option
 * is repeated the last one counts.
 */
#ifndef TCP_OPTIONS_H
#define TCP_OPTIONS_H

#include <tcp/tcp.h>

enum {
	/* RFC 9293 section 3.7.1: when the peer sends no MSS */
	TCP_MSS_DEFAULT = 536,
	TCP_MSS6_DEFAULT = 1220,
	TCP_WSCALE_MAX = 14, /* RFC 7323 section 2.3 */
};

/* Parses `len_bytes` (0 to 40) of options of a segment with header bits `flags` into *opt,
 * which is zeroed first. Reads opt bytes only; never loops without advancing.
 * Returns 0, or -EBADMSG for a length below 2 or past the end; *opt is then incomplete. */
int tcp_options_parse(
	struct tcp_options *opt, const uint8_t *bytes, unsigned int len_bytes, uint8_t flags);

/* Writes the options that *opt names, padded with no-ops to a multiple of 4, which is
 * returned (0 to 40 bytes). SACK blocks that no longer fit are left out, the first ones
 * are kept; all other options together always fit. */
unsigned int tcp_options_encode(const struct tcp_options *opt, uint8_t out[TCP_OPTIONS_MAX]);
/* The same with timestamps alone. */
unsigned int tcp_options_encode_ts(uint32_t val, uint32_t ecr, uint8_t out[TCP_OPTIONS_MAX]);

/* What the peer's SYN lets us send: its MSS or, without the option, 536, clamped to
 * [cfg->mss_min_bytes, tcp_mss_max()]. Payload and options of later segments together;
 * the sender takes the options off (RFC 6691). Both opens use this. */
uint16_t tcp_options_peer_mss(
	const struct tcp_config *cfg, const struct net_addr *peer, const struct tcp_options *opt);

/* The window scale that we offer: the smallest that lets cfg->rcvbuf_max_bytes be said in 16
 * bits (RFC 7323 section 2.2); 0 with cfg->window_scale off, when no option is sent. */
uint8_t tcp_options_rcv_wscale(const struct tcp_config *cfg);

#endif
