/* RFC 6528: ISN = M + F(localip, localport, remoteip, remoteport, secretkey), with M a clock
 * of 4 us ticks, so that numbers of one tuple grow from one connection to the next and those
 * of other tuples tell nothing. F is SipHash-2-4, keyed by 16 random bytes that stay the
 * same over a restart (they lie with the flow state).
 */
#include <tcp/isn.h>

#include <tcp/siphash.h>

/* Of IPv4 only what tells tuples apart. */
static uint32_t hash_tuple(const uint8_t secret[16], const struct net_tuple *key)
{
	uint64_t addrs = net_tuple_ip4_addrs(key);

	if (!net_tuple_is_ip4(key))
		return (uint32_t)tcp_siphash24(secret, key, sizeof(*key));
	return (uint32_t)tcp_siphash24_twelve(secret, addrs, net_tuple_ports(key));
}

uint32_t tcp_isn(const struct tcp_ctx *ctx, const struct net_tuple *key, uint64_t now_us)
{
	return (uint32_t)(now_us / 4) + hash_tuple(ctx->isn_key, key);
}

uint32_t tcp_ts_offset(const struct tcp_ctx *ctx, const struct net_tuple *key)
{
	return hash_tuple(ctx->ts_key, key);
}
