/* IPv6 addresses of the interface, and which way a packet leaves: see route.h. */
#include <net/route.h>

#include <errno.h>
#include <stddef.h>

const struct net_addr net_addr6_all_nodes = {{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
const struct net_addr net_addr6_all_routers = {{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}};

static const char *const state_names[] = {
	[NET_ADDR6_TENTATIVE] = "tentative",
	[NET_ADDR6_PREFERRED] = "",
	[NET_ADDR6_DEPRECATED] = "deprecated",
	[NET_ADDR6_DUPLICATE] = "dadfailed",
};
static_assert(sizeof(state_names) / sizeof(state_names[0]) == NET_ADDR6_STATE_COUNT,
	"a name for each state");

const char *net_addr6_state_name(enum net_addr6_state state)
{
	return state < NET_ADDR6_STATE_COUNT ? state_names[state] : "?";
}

bool net_ip6_is_unicast(const struct net_addr *addr)
{
	static const uint8_t zero[15];

	/* :: and ::1 */
	if (memcmp(addr->b, zero, sizeof(zero)) == 0 && addr->b[15] <= 1)
		return false;
	return !net_addr_is_group6(addr) && !net_addr_is_ip4(addr);
}

/* How many leading bits are the same. */
static unsigned int common_bits(const struct net_addr *a, const struct net_addr *b)
{
	unsigned int bits = 0;

	for (unsigned int i = 0; i < sizeof(a->b); i++, bits += 8) {
		unsigned int differ = a->b[i] ^ b->b[i];

		if (differ)
			return bits + (unsigned int)__builtin_clz(differ) - 24;
	}
	return bits;
}

bool net_addr6_in_prefix(
	const struct net_addr *addr, const struct net_addr *prefix, uint8_t prefix_len)
{
	return common_bits(addr, prefix) >= prefix_len;
}

static bool usable(const struct net_prefix6 *px)
{
	return px->state == NET_ADDR6_PREFERRED || px->state == NET_ADDR6_DEPRECATED;
}

const struct net_prefix6 *net_iface_find6(
	const struct net_iface *iface, const struct net_addr *addr)
{
	for (unsigned int i = 0; i < iface->addr6_count; i++)
		if (net_addr_equal(&iface->addr6[i].addr, addr))
			return &iface->addr6[i];
	return NULL;
}

int net_iface_add6(struct net_iface *iface, const struct net_addr *addr, uint8_t prefix_len,
	enum net_addr6_state state)
{
	if (prefix_len < 1 || prefix_len > 128 || !net_ip6_is_unicast(addr))
		return -EINVAL;
	if (net_iface_find6(iface, addr))
		return -EEXIST;
	if (iface->addr6_count >= NET_IFACE_ADDRS6_MAX)
		return -ENOSPC;
	iface->addr6[iface->addr6_count++] = (struct net_prefix6){
		.addr = *addr,
		.prefix_len = prefix_len,
		.state = (uint8_t)state,
	};
	return 0;
}

void net_addr6_set_eui64(struct net_addr *addr, const struct net_mac *mac)
{
	memcpy(addr->b + 8, mac->b, 3);
	addr->b[8] ^= 2;
	addr->b[11] = 0xff;
	addr->b[12] = 0xfe;
	memcpy(addr->b + 13, mac->b + 3, 3);
}

int net_iface_add_link_local(struct net_iface *iface, enum net_addr6_state state)
{
	struct net_addr addr = {{0xfe, 0x80}};

	for (unsigned int i = 0; i < iface->addr6_count; i++)
		if (net_addr_is_link_local6(&iface->addr6[i].addr))
			return 0;
	net_addr6_set_eui64(&addr, &iface->mac);
	return net_iface_add6(iface, &addr, 64, state);
}

int net_iface_set_gateway6(struct net_iface *iface, const struct net_addr *addr)
{
	if (!net_ip6_is_unicast(addr) || net_iface_find6(iface, addr))
		return -EINVAL;
	if (!net_iface_on_link6(iface, addr))
		return -ENETUNREACH;
	iface->gateway6 = *addr;
	return 0;
}

bool net_iface_is_local6(const struct net_iface *iface, const struct net_addr *addr)
{
	const struct net_prefix6 *px = net_iface_find6(iface, addr);

	return px && usable(px);
}

struct net_addr net_addr6_solicited_node(const struct net_addr *addr)
{
	struct net_addr group = {{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff}};

	memcpy(group.b + 13, addr->b + 13, 3);
	return group;
}

struct net_mac net_mac_of_group6(const struct net_addr *group)
{
	struct net_mac mac = {{0x33, 0x33}};

	memcpy(mac.b + 2, group->b + 12, 4);
	return mac;
}

bool net_iface_in_group6(const struct net_iface *iface, const struct net_addr *group)
{
	if (!iface->addr6_count)
		return false;
	if (net_addr_equal(group, &net_addr6_all_nodes))
		return true;
	for (unsigned int i = 0; i < iface->addr6_count; i++) {
		struct net_addr own = net_addr6_solicited_node(&iface->addr6[i].addr);

		if (net_addr_equal(group, &own))
			return true;
	}
	return false;
}

/* All that is link-local is on link, as far as there is one port. */
bool net_iface_on_link6(const struct net_iface *iface, const struct net_addr *addr)
{
	if (net_addr_is_link_local6(addr))
		return iface->addr6_count != 0;
	for (unsigned int i = 0; i < iface->addr6_count; i++)
		if (net_addr6_in_prefix(addr, &iface->addr6[i].addr, iface->addr6[i].prefix_len))
			return true;
	for (unsigned int i = 0; i < iface->prefix6_count; i++)
		if (net_addr6_in_prefix(
			    addr, &iface->prefix6[i].addr, iface->prefix6[i].prefix_len))
			return true;
	return false;
}

/* The rules of RFC 6724 section 5 that can differ here: scope (2), deprecated (3), longest
 * match (8). The higher the better; 0: not to be used at all. */
static unsigned int source_rank(const struct net_prefix6 *px, const struct net_addr *dst)
{
	bool local_dst = net_addr_is_link_local6(dst) || net_addr_is_group6(dst);
	bool local_src = net_addr_is_link_local6(&px->addr);

	if (!usable(px) || (local_src && !local_dst))
		return 0;
	return 1 + common_bits(&px->addr, dst) + (px->state == NET_ADDR6_PREFERRED ? 256 : 0) +
	       (local_src == local_dst ? 512 : 0);
}

const struct net_addr *net_iface_source6(const struct net_iface *iface, const struct net_addr *dst)
{
	const struct net_addr *best = NULL;
	unsigned int best_rank = 0;

	for (unsigned int i = 0; i < iface->addr6_count; i++) {
		unsigned int rank = source_rank(&iface->addr6[i], dst);

		if (rank > best_rank) {
			best = &iface->addr6[i].addr;
			best_rank = rank;
		}
	}
	return best;
}

int net_route_lookup6(
	const struct net_iface *iface, const struct net_addr *dst, struct net_hop *hop)
{
	const struct net_addr *src;

	if (!net_ip6_is_unicast(dst) || net_iface_find6(iface, dst))
		return -ENETUNREACH;
	src = net_iface_source6(iface, dst);
	if (!src)
		return -ENETUNREACH;
	hop->src = *src;
	hop->next_hop = *dst;
	if (net_iface_on_link6(iface, dst))
		return 0;
	hop->next_hop = iface->gateway6;
	return net_addr_is_any(&iface->gateway6) ? -ENETUNREACH : 0;
}
