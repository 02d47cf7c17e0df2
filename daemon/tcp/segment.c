/* The boundary: behind tcp_segment_parse() every length has been checked. */
#include <tcp/options.h>

#include <net/wire.h>
#include <tcp/counters.h>

#include <errno.h>

enum {
	HEADER_MIN = 20, /* RFC 9293 section 3.1 */
	OFF_SEQ = 4,
	OFF_ACK = 8,
	OFF_DATA_OFFSET = 12,
	OFF_FLAGS = 13,
	OFF_WINDOW = 14,
	OFF_URGENT = 18,
};

/* No TCP in use sends these, and no state has to think about them: a SYN with FIN (which
 * RFC 9293 allows, as it does data on a SYN) or with RST, or none of the four at all. */
static bool flags_make_sense(uint8_t flags)
{
	if (flags & TCP_SYN)
		return !(flags & (TCP_FIN | TCP_RST));
	return flags & (TCP_FIN | TCP_RST | TCP_ACK);
}

int tcp_segment_parse(
	struct tcp_segment *seg, const uint8_t *tcp, size_t len_bytes, enum tcp_drop *reason)
{
	size_t header_bytes;

	*reason = TCP_DROP_seg_short;
	if (len_bytes < HEADER_MIN || len_bytes > UINT16_MAX)
		return -EBADMSG;
	*reason = TCP_DROP_seg_bad_offset;
	header_bytes = (size_t)(tcp[OFF_DATA_OFFSET] >> 4) * 4;
	if (header_bytes < HEADER_MIN || header_bytes > len_bytes)
		return -EBADMSG;
	*reason = TCP_DROP_seg_bad_flags;
	seg->flags = tcp[OFF_FLAGS];
	if (!flags_make_sense(seg->flags))
		return -EBADMSG;
	*reason = TCP_DROP_seg_bad_option;
	if (tcp_options_parse(&seg->opt, tcp + HEADER_MIN,
		    (unsigned int)(header_bytes - HEADER_MIN), seg->flags) < 0)
		return -EBADMSG;
	*reason = TCP_DROP_NONE;
	seg->seq = net_get32(tcp + OFF_SEQ);
	seg->ack = net_get32(tcp + OFF_ACK);
	seg->wnd = net_get16(tcp + OFF_WINDOW);
	seg->urg = net_get16(tcp + OFF_URGENT);
	seg->ecn = TCP_ECN_NOT_ECT; /* unless the caller knows better */
	seg->len = (uint32_t)(len_bytes - header_bytes);
	seg->payload = tcp + header_bytes;
	return 0;
}
