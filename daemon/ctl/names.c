/* Names in one growing array, each on two lists: its session's and its port's; see names.h.
 * Indices in lists are stored plus one, so that zeroed memory is an empty list. */
#include <ctl/names.h>

#include <proto/attach.h>

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct name {
	struct net_addr addr;
	uint16_t port;
	bool reuseaddr, reuseport;
	bool v6only;	       /* of any address: not of IPv4's */
	bool by_listen;	       /* nobody bound it: it ends with the listener */
	uint32_t uid;	       /* of the session */
	uint32_t session;      /* 0: the entry is free */
	uint32_t session_next; /* 1 + index, also the free list */
	uint32_t port_next;
	uint32_t listener; /* 1 + index in `listener`; 0: does not listen */
};

struct listener {
	uint32_t name; /* 1 + index; 0: free */
	uint32_t gen;
};

struct names {
	struct names_config cfg;
	struct name *name;
	uint32_t capacity;
	uint32_t free_head;
	uint32_t port_head[65536];
	struct listener listener[NAMES_LISTENERS_MAX];
	uint32_t listener_hint;
	uint32_t next_gen;
};

int names_create(struct names **n, const struct names_config *cfg)
{
	*n = calloc(1, sizeof(**n));
	if (!*n)
		return -ENOMEM;
	(*n)->cfg = *cfg;
	return 0;
}

void names_destroy(struct names *n)
{
	if (!n)
		return;
	free(n->name);
	free(n);
}

static int grow(struct names *n)
{
	uint32_t capacity = n->capacity ? n->capacity * 2 : 64;
	struct name *bigger;

	if (n->capacity >= NAMES_MAX)
		return -ENOBUFS;
	bigger = realloc(n->name, capacity * sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	n->name = bigger;
	for (uint32_t i = capacity; i-- > n->capacity;) {
		n->name[i] = (struct name){.session_next = n->free_head};
		n->free_head = i + 1;
	}
	n->capacity = capacity;
	return 0;
}

static bool is_any(const struct net_addr *a)
{
	return net_addr_is_any(a) || net_addr_is_any4(a);
}

/* Bit 0: takes connections over IPv4; bit 1: over IPv6. */
static unsigned int families(const struct net_addr *a, bool v6only)
{
	if (net_addr_is_ip4(a))
		return 1;
	return net_addr_is_any(a) && !v6only ? 3 : 2;
}

static bool overlaps(const struct net_addr *a, bool a_v6only, const struct name *b)
{
	if (!(families(a, a_v6only) & families(&b->addr, b->v6only)))
		return false;
	return is_any(a) || is_any(&b->addr) || net_addr_equal(a, &b->addr);
}

static uint32_t owner(const struct names *n, uint16_t port)
{
	return atomic_load_explicit(&n->cfg.port_owner[port], memory_order_relaxed);
}

/* May two names overlap, by what a new one says and what the other is? */
static bool tolerates(uint32_t uid, uint32_t flags, const struct name *o)
{
	if ((flags & PROTO_NAME_REUSEADDR) && o->reuseaddr && !o->listener)
		return true;
	return (flags & PROTO_NAME_REUSEPORT) && o->reuseport && o->uid == uid;
}

static bool bind_conflicts(const struct names *n, uint32_t uid, const struct net_addr *addr,
	uint16_t port, uint32_t flags)
{
	bool v6only = flags & PROTO_NAME_V6ONLY;

	for (uint32_t i = n->port_head[port]; i; i = n->name[i - 1].port_next) {
		const struct name *o = &n->name[i - 1];

		if (overlaps(addr, v6only, o) && !tolerates(uid, flags, o))
			return true;
	}
	return false;
}

/* `own`: the name that is to listen, as 1 + index; 0: not bound yet. */
static bool listen_conflicts(
	const struct names *n, const struct net_addr *addr, uint16_t port, uint32_t own)
{
	const struct name *m = own ? &n->name[own - 1] : NULL;
	uint32_t reuse = m && m->reuseport ? PROTO_NAME_REUSEPORT : 0;
	bool v6only = m && m->v6only;

	for (uint32_t i = n->port_head[port]; i; i = n->name[i - 1].port_next) {
		const struct name *o = &n->name[i - 1];

		if (o->listener && overlaps(addr, v6only, o) && !(m && tolerates(m->uid, reuse, o)))
			return true;
	}
	return false;
}

/* A port that nobody has, beginning at a random one of the slice; 0: none is left. */
static uint16_t choose_port(const struct names *n)
{
	uint32_t first = n->cfg.port_first, last = n->cfg.port_last;
	uint32_t count, start;

	if (first == 0 || last < first)
		return 0;
	count = last - first + 1;
	start = arc4random_uniform(count);
	for (uint32_t i = 0; i < count; i++) {
		uint16_t port = (uint16_t)(first + (start + i) % count);

		if (owner(n, port) == 0)
			return port;
	}
	return 0;
}

/* What a connect may name. */
static const struct net_addr *claimed_addr(const struct net_addr *addr, bool v6only)
{
	return net_addr_is_any(addr) && v6only ? &claims_any6 : addr;
}

/* Has the session this very name once more? */
static bool has_twin(
	const struct names *n, uint32_t session, const struct net_addr *claimed, uint16_t port)
{
	for (uint32_t i = n->port_head[port]; i; i = n->name[i - 1].port_next) {
		const struct name *m = &n->name[i - 1];

		if (m->session == session &&
			net_addr_equal(claimed_addr(&m->addr, m->v6only), claimed))
			return true;
	}
	return false;
}

/* Tells the engines whose the port is, now that its names have changed. */
static void publish_owner(const struct names *n, uint16_t port)
{
	uint32_t who = 0;

	for (uint32_t i = n->port_head[port]; i; i = n->name[i - 1].port_next) {
		uint32_t session = n->name[i - 1].session;

		who = who && who != session ? CLAIMS_SHARED : session;
		if (who == CLAIMS_SHARED)
			break;
	}
	/* relaxed: the answer that the client waits for orders it before any connect */
	atomic_store_explicit(&n->cfg.port_owner[port], who, memory_order_relaxed);
}

static int name_add(struct names *n, struct names_holder *h, const struct net_addr *addr,
	uint16_t port, uint32_t flags)
{
	const struct net_addr *claimed = claimed_addr(addr, flags & PROTO_NAME_V6ONLY);
	struct name *m;
	uint32_t link;

	if (h->names >= NAMES_PER_SESSION_MAX)
		return -ENOBUFS;
	if (!n->free_head) {
		int r = grow(n);

		if (r < 0)
			return r;
	}
	if (!has_twin(n, h->session, claimed, port) &&
		!claims_add(n->cfg.claims, claimed, port, h->session))
		return -ENOBUFS;
	link = n->free_head;
	m = &n->name[link - 1];
	n->free_head = m->session_next;
	*m = (struct name){
		.addr = *addr,
		.port = port,
		.reuseaddr = flags & PROTO_NAME_REUSEADDR,
		.reuseport = flags & PROTO_NAME_REUSEPORT,
		.v6only = flags & PROTO_NAME_V6ONLY,
		.uid = h->uid,
		.session = h->session,
		.session_next = h->head,
		.port_next = n->port_head[port],
	};
	h->head = link;
	h->names++;
	n->port_head[port] = link;
	publish_owner(n, port);
	return 0;
}

static void unlink_from_port(struct names *n, uint32_t link)
{
	uint16_t port = n->name[link - 1].port;
	uint32_t *at = &n->port_head[port];

	while (*at != link)
		at = &n->name[*at - 1].port_next;
	*at = n->name[link - 1].port_next;
	publish_owner(n, port);
}

static void listener_free(struct names *n, struct names_holder *h, struct name *m)
{
	if (!m->listener)
		return;
	n->listener[m->listener - 1] = (struct listener){0};
	m->listener = 0;
	h->listeners--;
}

static void name_free(struct names *n, struct names_holder *h, uint32_t link)
{
	struct name *m = &n->name[link - 1];
	uint32_t *at = &h->head;

	while (*at != link)
		at = &n->name[*at - 1].session_next;
	*at = m->session_next;
	h->names--;
	listener_free(n, h, m);
	unlink_from_port(n, link);
	if (!has_twin(n, h->session, claimed_addr(&m->addr, m->v6only), m->port))
		claims_del(n->cfg.claims, claimed_addr(&m->addr, m->v6only), m->port, h->session);
	*m = (struct name){.session_next = n->free_head};
	n->free_head = link;
}

int names_bind(struct names *n, struct names_holder *h, const struct net_addr *addr, uint16_t *port,
	uint32_t flags)
{
	if (*port == 0)
		*port = choose_port(n);
	if (*port == 0 || bind_conflicts(n, h->uid, addr, *port, flags))
		return -EADDRINUSE;
	return name_add(n, h, addr, *port, flags);
}

/* The session's name at addr and port that listens, or does not; 0: there is none. */
static uint32_t find(const struct names *n, const struct names_holder *h,
	const struct net_addr *addr, uint16_t port, bool listening)
{
	for (uint32_t i = n->port_head[port]; i; i = n->name[i - 1].port_next) {
		const struct name *m = &n->name[i - 1];

		if (m->session == h->session && net_addr_equal(&m->addr, addr) &&
			(m->listener != 0) == listening)
			return i;
	}
	return 0;
}

int names_unbind(
	struct names *n, struct names_holder *h, const struct net_addr *addr, uint16_t port)
{
	uint32_t link = find(n, h, addr, port, false);

	if (!link)
		return find(n, h, addr, port, true) ? -EBUSY : -ENOENT;
	name_free(n, h, link);
	return 0;
}

static uint32_t listener_slot(struct names *n)
{
	for (uint32_t i = 0; i < NAMES_LISTENERS_MAX; i++) {
		uint32_t idx = (n->listener_hint + i) % NAMES_LISTENERS_MAX;

		if (!n->listener[idx].name) {
			n->listener_hint = idx + 1;
			return idx + 1;
		}
	}
	return 0;
}

int names_listen(struct names *n, struct names_holder *h, const struct net_addr *addr,
	uint16_t *port, struct proto_handle *handle)
{
	uint32_t link, slot;
	bool by_listen = false;
	int r;

	if (h->listeners >= n->cfg.listeners_per_session)
		return -ENOBUFS;
	link = *port ? find(n, h, addr, *port, false) : 0;
	if (*port && listen_conflicts(n, addr, *port, link))
		return -EADDRINUSE;
	slot = listener_slot(n);
	if (!slot)
		return -ENOBUFS;
	if (!link) {
		r = names_bind(n, h, addr, port, 0);
		if (r < 0)
			return r;
		by_listen = true;
		link = h->head;
	}
	n->name[link - 1].by_listen = by_listen;
	n->name[link - 1].listener = slot;
	if (++n->next_gen == 0)
		n->next_gen = 1;
	n->listener[slot - 1] = (struct listener){.name = link, .gen = n->next_gen};
	h->listeners++;
	*handle = (struct proto_handle){.idx = slot - 1, .gen = n->next_gen};
	return 0;
}

bool names_reuseport(const struct names *n, struct proto_handle handle)
{
	const struct listener *l = &n->listener[handle.idx % NAMES_LISTENERS_MAX];

	return l->name && l->gen == handle.gen && n->name[l->name - 1].reuseport;
}

bool names_v6only(const struct names *n, struct proto_handle handle)
{
	const struct listener *l = &n->listener[handle.idx % NAMES_LISTENERS_MAX];

	return l->name && l->gen == handle.gen && n->name[l->name - 1].v6only;
}

int names_unlisten(struct names *n, struct names_holder *h, struct proto_handle handle)
{
	const struct listener *l;
	struct name *m;
	uint32_t link;

	if (handle.idx >= NAMES_LISTENERS_MAX)
		return -ENOENT;
	l = &n->listener[handle.idx];
	link = l->name;
	if (!link || l->gen != handle.gen || n->name[link - 1].session != h->session)
		return -ENOENT;
	m = &n->name[link - 1];
	if (m->by_listen)
		name_free(n, h, link);
	else
		listener_free(n, h, m);
	return 0;
}

void names_drop(struct names *n, struct names_holder *h)
{
	while (h->head)
		name_free(n, h, h->head);
	assert(h->names == 0 && h->listeners == 0);
}
