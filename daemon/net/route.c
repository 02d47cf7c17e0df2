#include <net/route.h>

#include <net/wire.h>

#include <errno.h>
#include <stddef.h>

static uint32_t to_host(uint32_t ip_be)
{
	return net_get32((const uint8_t *)&ip_be);
}

static uint32_t to_be(uint32_t ip)
{
	uint32_t ip_be;

	net_put32((uint8_t *)&ip_be, ip);
	return ip_be;
}

static bool prefix_holds(const struct net_prefix *px, uint32_t ip_be)
{
	return ((ip_be ^ px->ip_be) & px->mask_be) == 0;
}

/* RFC 3021: with one bit of host part or none there is no broadcast address. */
static uint32_t prefix_broadcast(const struct net_prefix *px)
{
	return px->prefix_len < 31 ? px->ip_be | ~px->mask_be : 0xffffffff;
}

bool net_ip4_is_unicast(uint32_t ip_be)
{
	uint32_t ip = to_host(ip_be);
	uint32_t net = ip >> 24;

	return net != 0 && net != 127 && (ip >> 28) != 0xe && ip != 0xffffffff;
}

int net_iface_add(struct net_iface *iface, uint32_t ip_be, uint8_t prefix_len)
{
	struct net_prefix px = {.ip_be = ip_be, .prefix_len = prefix_len};

	if (prefix_len < 1 || prefix_len > 32 || !net_ip4_is_unicast(ip_be))
		return -EINVAL;
	px.mask_be = to_be(0xffffffffu << (32 - prefix_len));
	px.broadcast_be = prefix_broadcast(&px);
	if (px.broadcast_be == ip_be)
		return -EINVAL;
	if (net_iface_is_local(iface, ip_be))
		return -EEXIST;
	if (iface->addr_count >= NET_IFACE_ADDRS_MAX)
		return -ENOSPC;
	iface->addr[iface->addr_count++] = px;
	return 0;
}

int net_iface_set_gateway(struct net_iface *iface, uint32_t ip_be)
{
	if (!net_ip4_is_unicast(ip_be) || net_iface_is_broadcast(iface, ip_be) ||
		net_iface_is_local(iface, ip_be))
		return -EINVAL;
	if (!net_iface_on_link(iface, ip_be))
		return -ENETUNREACH;
	iface->gateway_be = ip_be;
	return 0;
}

bool net_iface_is_local(const struct net_iface *iface, uint32_t ip_be)
{
	for (unsigned int i = 0; i < iface->addr_count; i++)
		if (iface->addr[i].ip_be == ip_be)
			return true;
	return false;
}

bool net_iface_is_broadcast(const struct net_iface *iface, uint32_t ip_be)
{
	if (ip_be == 0xffffffff)
		return true;
	for (unsigned int i = 0; i < iface->addr_count; i++)
		if (iface->addr[i].broadcast_be == ip_be)
			return true;
	return false;
}

const struct net_prefix *net_iface_on_link(const struct net_iface *iface, uint32_t ip_be)
{
	const struct net_prefix *best = NULL;

	for (unsigned int i = 0; i < iface->addr_count; i++) {
		const struct net_prefix *px = &iface->addr[i];

		if (prefix_holds(px, ip_be) && (!best || px->prefix_len > best->prefix_len))
			best = px;
	}
	return best;
}

int net_route_lookup(const struct net_iface *iface, uint32_t dst_be, struct net_route *route)
{
	const struct net_prefix *px;
	uint32_t hop_be = dst_be;

	if (!net_ip4_is_unicast(dst_be) || net_iface_is_broadcast(iface, dst_be) ||
		net_iface_is_local(iface, dst_be))
		return -ENETUNREACH;
	px = net_iface_on_link(iface, hop_be);
	if (!px && iface->gateway_be) {
		hop_be = iface->gateway_be;
		px = net_iface_on_link(iface, hop_be);
	}
	if (!px)
		return -ENETUNREACH;
	*route = (struct net_route){.next_hop_be = hop_be, .src_be = px->ip_be};
	return 0;
}

int net_route_find(const struct net_iface *iface, const struct net_addr *dst, struct net_hop *hop)
{
	struct net_route route;
	int rc;

	*hop = (struct net_hop){.next_hop = *dst, .src = *dst, .local = net_iface_has(iface, dst)};
	if (hop->local)
		return 0;
	if (!net_addr_is_ip4(dst))
		return net_route_lookup6(iface, dst, hop);
	rc = net_route_lookup(iface, net_addr_to_ip4(dst), &route);
	if (rc)
		return rc;
	hop->next_hop = net_addr_from_ip4(route.next_hop_be);
	hop->src = net_addr_from_ip4(route.src_be);
	return 0;
}

bool net_iface_has(const struct net_iface *iface, const struct net_addr *addr)
{
	if (net_addr_is_ip4(addr))
		return net_iface_is_local(iface, net_addr_to_ip4(addr));
	return net_iface_is_local6(iface, addr);
}

uint32_t net_iface_mtu(const struct net_iface *iface, const struct net_addr *addr)
{
	if (!net_addr_is_ip4(addr) && iface->mtu6_bytes)
		return iface->mtu6_bytes;
	return iface->mtu_bytes;
}

const struct net_prefix_rule *net_prefix_rule_find(
	const struct net_prefix_rule *rules, uint32_t count, const struct net_addr *addr)
{
	const struct net_prefix_rule *best = NULL;

	for (uint32_t i = 0; i < count; i++) {
		const struct net_prefix_rule *r = &rules[i];

		/* ::/0 holds mapped addresses too, but is not meant to */
		if (net_addr_is_ip4(&r->prefix) != net_addr_is_ip4(addr) ||
			!net_addr6_in_prefix(addr, &r->prefix, r->prefix_len))
			continue;
		if (!best || r->prefix_len > best->prefix_len)
			best = r;
	}
	return best;
}
