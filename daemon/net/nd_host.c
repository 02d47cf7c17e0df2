#include <net/nd_host.h>

#include <net/lock.h>

#include <errno.h>
#include <stdatomic.h>

enum {
	SECOND_US = 1000000,
	TWO_HOURS_S = 7200,
	INFINITE_S = -1, /* 0xffffffff on the wire */
};

/* What iface.addr6[] does not say. */
struct addr6_life {
	uint64_t probe_end_us; /* TENTATIVE: 0 until the probe is sent */
	uint64_t preferred_until_us;
	uint64_t valid_until_us;
	bool autonomous; /* made from a prefix; others have no lifetimes */
	bool announce;
};

struct router {
	struct net_addr addr; /* all zero: free */
	uint64_t until_us;
	uint64_t avoid_until_us;
	int8_t preference;
};

struct net_nd_host {
	/* read by every engine */
	_Alignas(64) _Atomic uint64_t generation;
	struct net_neigh_table *neigh; /* these four never change */
	bool slaac;
	bool probe;
	bool fixed_gateway;
	/* under the lock */
	_Alignas(64) _Atomic uint32_t lock;
	struct net_iface iface;
	struct addr6_life life[NET_IFACE_ADDRS6_MAX]; /* of iface.addr6[] */
	uint64_t prefix_until_us[NET_IFACE_PREFIXES6_MAX];
	struct router router[NET_ND_ROUTERS_MAX];
	uint64_t solicit_us; /* when the next router solicitation is due */
	unsigned int solicits_left;
	bool join; /* our groups have changed */
};

static uint64_t until(uint64_t now_us, uint32_t seconds)
{
	return seconds == (uint32_t)INFINITE_S ? UINT64_MAX
					       : now_us + (uint64_t)seconds * SECOND_US;
}

/* -- making and reading -------------------------------------------------------------------- */

size_t net_nd_host_size(void)
{
	return sizeof(struct net_nd_host);
}

static enum net_addr6_state first_state(const struct net_nd_host *h)
{
	return h->probe ? NET_ADDR6_TENTATIVE : NET_ADDR6_PREFERRED;
}

static void begin_life(struct net_nd_host *h, unsigned int i)
{
	h->life[i] = (struct addr6_life){
		.preferred_until_us = UINT64_MAX,
		.valid_until_us = UINT64_MAX,
		.announce = !h->probe,
	};
	h->join = true;
}

struct net_nd_host *net_nd_host_init(void *mem, const struct net_nd_config *cfg, uint64_t now_us)
{
	struct net_nd_host *h = mem;

	memset(h, 0, sizeof(*h));
	h->generation = 1;
	h->neigh = cfg->neigh;
	h->slaac = cfg->slaac;
	h->probe = cfg->probe;
	h->iface = *cfg->iface;
	h->fixed_gateway = !net_addr_is_any(&h->iface.gateway6);
	if (h->iface.addr6_count || cfg->slaac)
		net_iface_add_link_local(&h->iface, first_state(h));
	for (unsigned int i = 0; i < h->iface.addr6_count; i++) {
		h->iface.addr6[i].state = (uint8_t)first_state(h);
		begin_life(h, i);
	}
	h->solicits_left = cfg->slaac ? NET_ND_ROUTER_SOLICITS : 0;
	h->solicit_us = now_us;
	return h;
}

uint64_t net_nd_host_generation(const struct net_nd_host *h)
{
	return atomic_load_explicit(&h->generation, memory_order_acquire);
}

uint64_t net_nd_host_iface(struct net_nd_host *h, struct net_iface *iface)
{
	uint64_t generation;

	net_lock(&h->lock);
	*iface = h->iface;
	generation = atomic_load_explicit(&h->generation, memory_order_relaxed);
	net_unlock(&h->lock);
	return generation;
}

/* Under the lock; pairs with the acquire in net_nd_host_generation(): who sees it copies what
 * was changed before. */
static void changed(struct net_nd_host *h)
{
	atomic_fetch_add_explicit(&h->generation, 1, memory_order_release);
}

/* -- routers -------------------------------------------------------------------------------- */

static struct router *find_router(struct net_nd_host *h, const struct net_addr *addr)
{
	for (unsigned int i = 0; i < NET_ND_ROUTERS_MAX; i++)
		if (net_addr_equal(&h->router[i].addr, addr))
			return &h->router[i];
	return NULL;
}

/* Higher is better; 0: not to be used. The present one wins among equals. */
static int router_rank(const struct net_nd_host *h, const struct router *r, uint64_t now_us)
{
	if (net_addr_is_any(&r->addr))
		return 0;
	return 8 + (now_us < r->avoid_until_us ? -7 : 0) + 2 * r->preference +
	       (net_addr_equal(&r->addr, &h->iface.gateway6) ? 1 : 0);
}

/* RFC 4861 section 6.3.6, RFC 4191 section 3.2. */
static void choose_router(struct net_nd_host *h, uint64_t now_us)
{
	struct net_addr best = {{0}};
	int best_rank = 0;

	if (h->fixed_gateway)
		return;
	for (unsigned int i = 0; i < NET_ND_ROUTERS_MAX; i++) {
		int rank = router_rank(h, &h->router[i], now_us);

		if (rank > best_rank) {
			best = h->router[i].addr;
			best_rank = rank;
		}
	}
	if (net_addr_equal(&best, &h->iface.gateway6))
		return;
	h->iface.gateway6 = best;
	changed(h);
}

/* False: there is no room. */
static bool learn_router(struct net_nd_host *h, const struct net_nd *nd, uint64_t now_us)
{
	static const struct net_addr none;
	struct router *r = find_router(h, &nd->src);

	if (!r && !nd->lifetime_s)
		return true;
	if (!r)
		r = find_router(h, &none);
	if (!r)
		return false;
	if (nd->lifetime_s) {
		r->addr = nd->src;
		r->until_us = until(now_us, nd->lifetime_s);
		r->preference = nd->preference;
		h->solicits_left = 0;
	} else {
		*r = (struct router){.addr = none};
	}
	choose_router(h, now_us);
	return true;
}

static void expire_routers(struct net_nd_host *h, uint64_t now_us)
{
	for (unsigned int i = 0; i < NET_ND_ROUTERS_MAX; i++) {
		struct router *r = &h->router[i];

		if (net_addr_is_any(&r->addr))
			continue;
		if (now_us >= r->until_us)
			*r = (struct router){.until_us = 0};
		else if (net_neigh_has_failed(h->neigh, &r->addr, now_us))
			r->avoid_until_us = now_us + NET_ND_ROUTER_AVOID_US;
	}
	choose_router(h, now_us);
}

/* -- prefixes and the addresses made of them ------------------------------------------------- */

static void remove_prefix(struct net_nd_host *h, unsigned int i)
{
	unsigned int last = --h->iface.prefix6_count;

	h->iface.prefix6[i] = h->iface.prefix6[last];
	h->prefix_until_us[i] = h->prefix_until_us[last];
	changed(h);
}

/* RFC 4861 section 6.3.4. False: there is no room. */
static bool learn_on_link(struct net_nd_host *h, const struct net_nd_prefix *px, uint64_t now_us)
{
	struct net_iface *iface = &h->iface;
	unsigned int i = 0;

	while (i < iface->prefix6_count &&
		!(iface->prefix6[i].prefix_len == px->len &&
			net_addr6_in_prefix(&px->prefix, &iface->prefix6[i].addr, px->len)))
		i++;
	if (i < iface->prefix6_count && !px->valid_s) {
		remove_prefix(h, i);
		return true;
	}
	if (!px->valid_s)
		return true;
	if (i == NET_IFACE_PREFIXES6_MAX)
		return false;
	h->prefix_until_us[i] = until(now_us, px->valid_s);
	if (i < iface->prefix6_count)
		return true;
	iface->prefix6[i] = (struct net_prefix6){.addr = px->prefix, .prefix_len = px->len};
	iface->prefix6_count++;
	changed(h);
	return true;
}

/* RFC 4862 section 5.5.3 e: nobody shortens what is left below two hours. */
static uint64_t valid_until(const struct addr6_life *life, uint32_t valid_s, uint64_t now_us)
{
	uint64_t told_us = until(now_us, valid_s);
	uint64_t floor_us = until(now_us, TWO_HOURS_S);

	if (valid_s > TWO_HOURS_S || told_us > life->valid_until_us)
		return told_us;
	return life->valid_until_us < floor_us ? life->valid_until_us : floor_us;
}

static void refresh(struct addr6_life *life, const struct net_nd_prefix *px, uint64_t now_us)
{
	life->valid_until_us = valid_until(life, px->valid_s, now_us);
	life->preferred_until_us = until(now_us, px->preferred_s);
}

/* RFC 4862 section 5.5.3. False: there is no room. */
static bool learn_address(struct net_nd_host *h, const struct net_nd_prefix *px, uint64_t now_us)
{
	struct net_addr addr = px->prefix;
	const struct net_prefix6 *own;
	unsigned int i;

	net_addr6_set_eui64(&addr, &h->iface.mac);
	own = net_iface_find6(&h->iface, &addr);
	if (own) {
		i = (unsigned int)(own - h->iface.addr6);
		if (h->life[i].autonomous)
			refresh(&h->life[i], px, now_us);
		return true;
	}
	if (!px->valid_s)
		return true;
	i = h->iface.addr6_count;
	if (net_iface_add6(&h->iface, &addr, 128, first_state(h)))
		return false;
	begin_life(h, i);
	h->life[i].autonomous = true;
	h->life[i].valid_until_us = until(now_us, px->valid_s);
	h->life[i].preferred_until_us = until(now_us, px->preferred_s);
	changed(h);
	return true;
}

static enum net_drop learn_prefix(
	struct net_nd_host *h, const struct net_nd_prefix *px, uint64_t now_us)
{
	bool room = true;

	if (net_addr_is_link_local6(&px->prefix))
		return NET_DROP_NONE;
	if (!net_ip6_is_unicast(&px->prefix) || px->preferred_s > px->valid_s || px->len == 0 ||
		(px->autonomous && px->len != 64))
		return NET_DROP_nd_bad_prefix;
	if (px->on_link)
		room = learn_on_link(h, px, now_us);
	if (px->autonomous)
		room = learn_address(h, px, now_us) && room;
	return room ? NET_DROP_NONE : NET_DROP_nd_router_full;
}

static void remove_address(struct net_nd_host *h, unsigned int i)
{
	unsigned int last = --h->iface.addr6_count;

	h->iface.addr6[i] = h->iface.addr6[last];
	h->life[i] = h->life[last];
	changed(h);
}

/* -- router advertisements --------------------------------------------------------------------- */

static void learn_parameters(struct net_nd_host *h, const struct net_nd *nd)
{
	struct net_iface *iface = &h->iface;
	uint16_t mtu = iface->mtu6_bytes;
	uint8_t hop_limit = iface->hop_limit6;

	if (nd->hop_limit >= NET_ND_HOP_LIMIT_MIN)
		hop_limit = nd->hop_limit;
	if (nd->mtu_bytes >= NET_IP6_MTU_MIN && nd->mtu_bytes <= iface->mtu_bytes)
		mtu = (uint16_t)nd->mtu_bytes;
	if (mtu == iface->mtu6_bytes && hop_limit == iface->hop_limit6)
		return;
	iface->mtu6_bytes = mtu;
	iface->hop_limit6 = hop_limit;
	changed(h);
}

/* RFC 4861 section 6.3.4. The whole message counts as dropped if anything in it was. */
static enum net_drop router_advert(struct net_nd_host *h, const struct net_nd *nd, uint64_t now_us)
{
	enum net_drop why = NET_DROP_NONE;

	if (!h->slaac)
		return NET_DROP_nd_router_off;
	net_lock(&h->lock);
	if (!learn_router(h, nd, now_us))
		why = NET_DROP_nd_router_full;
	for (unsigned int i = 0; i < nd->prefix_count; i++) {
		enum net_drop prefix_why = learn_prefix(h, &nd->prefix[i], now_us);

		if (prefix_why != NET_DROP_NONE)
			why = prefix_why;
	}
	learn_parameters(h, nd);
	if (why == NET_DROP_NONE && nd->has_mac && find_router(h, &nd->src))
		why = net_neigh_update(
			h->neigh, &nd->src, &nd->mac, NET_NEIGH_FROM_REQUEST, now_us);
	net_unlock(&h->lock);
	return why;
}

/* -- neighbours ----------------------------------------------------------------------------------
 */

/* Somebody else uses or tries an address of ours. One that is being tried is given up (RFC 4862
 * sections 5.4.3 and 5.4.4); one in use is kept, as with ARP. Under the lock. */
static enum net_drop conflict(struct net_nd_host *h, struct net_prefix6 *px)
{
	if (px->state == NET_ADDR6_TENTATIVE) {
		px->state = NET_ADDR6_DUPLICATE;
		changed(h);
	}
	return NET_DROP_nd_conflict;
}

static void answer_to(struct net_nd_answer *answer, const struct net_nd *nd)
{
	*answer = (struct net_nd_answer){.target = nd->target, .dst = nd->src, .solicited = true};
	answer->mac = nd->has_mac ? nd->mac : nd->eth_src;
	if (net_addr_is_any(&nd->src)) {
		answer->dst = net_addr6_all_nodes;
		answer->mac = net_mac_of_group6(&net_addr6_all_nodes);
		answer->solicited = false;
	}
}

/* RFC 4861 section 7.2.3, RFC 4862 section 5.4.3. Under the lock. */
static enum net_drop solicited(struct net_nd_host *h, const struct net_nd *nd, uint64_t now_us,
	struct net_nd_answer *answer, bool *answer_due)
{
	const struct net_prefix6 *px = net_iface_find6(&h->iface, &nd->target);

	if (!px || px->state == NET_ADDR6_DUPLICATE)
		return NET_DROP_nd_not_ours;
	if (px->state == NET_ADDR6_TENTATIVE) {
		if (!net_addr_is_any(&nd->src))
			return NET_DROP_nd_not_ours;
		return conflict(h, &h->iface.addr6[px - h->iface.addr6]);
	}
	answer_to(answer, nd);
	*answer_due = true;
	if (!nd->has_mac)
		return NET_DROP_NONE;
	if (!net_iface_on_link6(&h->iface, &nd->src))
		return NET_DROP_nd_off_link;
	return net_neigh_update(h->neigh, &nd->src, &nd->mac, NET_NEIGH_FROM_REQUEST, now_us);
}

static enum net_neigh_source source_of(const struct net_nd *nd)
{
	if (nd->solicited)
		return nd->override ? NET_NEIGH_FROM_REPLY : NET_NEIGH_FROM_WEAK_REPLY;
	return nd->override ? NET_NEIGH_FROM_OTHER : NET_NEIGH_FROM_WEAK_OTHER;
}

/* RFC 4861 section 7.2.5. Without a MAC an advertisement can only answer a unicast probe; we
 * let the multicast ones that follow decide, which must be answered with one. Under the lock. */
static enum net_drop advertised(struct net_nd_host *h, const struct net_nd *nd, uint64_t now_us)
{
	const struct net_prefix6 *px = net_iface_find6(&h->iface, &nd->target);
	struct router *r = find_router(h, &nd->target);

	if (px)
		return conflict(h, &h->iface.addr6[px - h->iface.addr6]);
	if (!net_iface_on_link6(&h->iface, &nd->target))
		return NET_DROP_nd_off_link;
	if (r && !nd->router) {
		*r = (struct router){.until_us = 0};
		choose_router(h, now_us);
	}
	if (!nd->has_mac)
		return NET_DROP_nd_no_mac;
	return net_neigh_update(h->neigh, &nd->target, &nd->mac, source_of(nd), now_us);
}

enum net_drop net_nd_host_input(struct net_nd_host *h, const struct net_nd *nd, uint64_t now_us,
	struct net_nd_answer *answer, bool *answer_due)
{
	enum net_drop why;

	*answer_due = false;
	if (nd->type == NET_ND_ROUTER_ADVERT)
		return router_advert(h, nd, now_us);
	net_lock(&h->lock);
	why = nd->type == NET_ND_SOLICIT ? solicited(h, nd, now_us, answer, answer_due)
					 : advertised(h, nd, now_us);
	net_unlock(&h->lock);
	return why;
}

/* -- time ------------------------------------------------------------------------------------ */

static bool probe_due(struct addr6_life *life, uint64_t now_us)
{
	if (life->probe_end_us)
		return false;
	life->probe_end_us = now_us + NET_ND_PROBE_US;
	return true;
}

static void set_state(struct net_nd_host *h, struct net_prefix6 *px, enum net_addr6_state state)
{
	if (px->state == state)
		return;
	px->state = (uint8_t)state;
	changed(h);
}

/* Returns true if a probe is to be sent. */
static bool age_address(struct net_nd_host *h, unsigned int i, uint64_t now_us)
{
	struct net_prefix6 *px = &h->iface.addr6[i];
	struct addr6_life *life = &h->life[i];

	if (px->state == NET_ADDR6_DUPLICATE)
		return false;
	if (px->state == NET_ADDR6_TENTATIVE) {
		if (probe_due(life, now_us))
			return true;
		if (now_us < life->probe_end_us)
			return false;
		life->announce = true;
	}
	set_state(h, px,
		now_us < life->preferred_until_us ? NET_ADDR6_PREFERRED : NET_ADDR6_DEPRECATED);
	return false;
}

static bool solicit_due(struct net_nd_host *h, uint64_t now_us)
{
	if (!h->solicits_left || now_us < h->solicit_us)
		return false;
	h->solicits_left--;
	h->solicit_us = now_us + NET_ND_ROUTER_SOLICIT_US;
	return true;
}

static void put(struct net_nd_todo *out, unsigned int *n, enum net_nd_act act,
	const struct net_addr *target)
{
	out[(*n)++] = (struct net_nd_todo){.act = act};
	if (target)
		out[*n - 1].target = *target;
}

static void expire(struct net_nd_host *h, uint64_t now_us)
{
	for (unsigned int i = 0; i < h->iface.prefix6_count;) {
		if (now_us >= h->prefix_until_us[i])
			remove_prefix(h, i);
		else
			i++;
	}
	for (unsigned int i = 0; i < h->iface.addr6_count;) {
		if (now_us >= h->life[i].valid_until_us)
			remove_address(h, i);
		else
			i++;
	}
	expire_routers(h, now_us);
}

unsigned int net_nd_host_tick(struct net_nd_host *h, uint64_t now_us, struct net_nd_todo *out)
{
	unsigned int n = 0;

	net_lock(&h->lock);
	expire(h, now_us);
	if (h->join && h->iface.addr6_count) /* before the probes: they are to be answered */
		put(out, &n, NET_ND_ACT_JOIN, NULL);
	h->join = false;
	for (unsigned int i = 0; i < h->iface.addr6_count; i++) {
		const struct net_addr *addr = &h->iface.addr6[i].addr;

		if (age_address(h, i, now_us))
			put(out, &n, NET_ND_ACT_PROBE, addr);
		if (h->life[i].announce)
			put(out, &n, NET_ND_ACT_ANNOUNCE, addr);
		h->life[i].announce = false;
	}
	if (solicit_due(h, now_us))
		put(out, &n, NET_ND_ACT_ROUTER_SOLICIT, NULL);
	net_unlock(&h->lock);
	return n;
}
