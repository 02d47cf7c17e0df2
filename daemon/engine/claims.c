#include <engine/claims.h>

#include <tcp/siphash.h>

const struct net_addr claims_any6 = {{1}}; /* nobody's address: 100::/8 is discarded */

/* One slot of the window, and what stands there for this name and session. */
struct place {
	uint32_t first;
	uint64_t word;
};

static struct place place_of(
	const struct claims *c, const struct net_addr *addr, uint16_t port, uint32_t session)
{
	struct {
		struct net_addr addr;
		uint32_t port;
	} name = {*addr, port};
	static_assert(sizeof(name) == 20, "no padding is hashed");
	uint64_t hash = tcp_siphash24(c->key, &name, sizeof(name));

	return (struct place){(uint32_t)hash, (uint64_t)session << 32 | hash >> 32};
}

/* Index of the slot in the window that holds `word`; CLAIMS_SLOTS: there is none. */
static uint32_t find(const struct claims *c, uint32_t first, uint64_t word)
{
	for (uint32_t i = 0; i < CLAIMS_WINDOW; i++) {
		uint32_t at = (first + i) % CLAIMS_SLOTS;

		if (atomic_load_explicit(&c->slot[at], memory_order_relaxed) == word)
			return at;
	}
	return CLAIMS_SLOTS;
}

static void store(struct claims *c, uint32_t at, uint64_t word)
{
	/* relaxed: the answer that the client waits for orders it before any connect */
	atomic_store_explicit(&c->slot[at], word, memory_order_relaxed);
}

bool claims_add(struct claims *c, const struct net_addr *addr, uint16_t port, uint32_t session)
{
	struct place p = place_of(c, addr, port, session);
	uint32_t at = find(c, p.first, 0);

	if (at == CLAIMS_SLOTS)
		return false;
	store(c, at, p.word);
	return true;
}

void claims_del(struct claims *c, const struct net_addr *addr, uint16_t port, uint32_t session)
{
	struct place p = place_of(c, addr, port, session);
	uint32_t at = find(c, p.first, p.word);

	if (at != CLAIMS_SLOTS)
		store(c, at, 0);
}

bool claims_has(
	const struct claims *c, const struct net_addr *addr, uint16_t port, uint32_t session)
{
	struct place p = place_of(c, addr, port, session);

	return find(c, p.first, p.word) != CLAIMS_SLOTS;
}
