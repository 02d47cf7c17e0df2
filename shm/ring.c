/* The cold half of the ring: starting an end, and believing the other side's index.
 *
 * Everything per slot is inline in the header. What is left here runs once per lap at most.
 */
#include <shm/ring.h>

#include <assert.h>

static_assert(sizeof(struct shm_slot) == SHM_CACHE_LINE, "a slot is one cache line");
static_assert(sizeof(struct shm_slot_copy) == SHM_CACHE_LINE, "a copy is one cache line");
static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "words are shared between processes");

void shm_ring_prod_init(struct shm_ring_prod *p, struct shm_slot *slots,
	const _Atomic uint32_t *cons_idx, unsigned int order_log2)
{
	assert(order_log2 <= SHM_RING_ORDER_MAX);
	*p = (struct shm_ring_prod){
		.slots = slots,
		.cons_idx = cons_idx,
		.mask = (UINT32_C(1) << order_log2) - 1,
	};
}

void shm_ring_cons_init(struct shm_ring_cons *c, const struct shm_slot *slots,
	_Atomic uint32_t *cons_idx, unsigned int order_log2)
{
	assert(order_log2 <= SHM_RING_ORDER_MAX);
	*c = (struct shm_ring_cons){
		.slots = slots,
		.cons_idx = cons_idx,
		.mask = (UINT32_C(1) << order_log2) - 1,
	};
}

int shm_ring_prod_refresh(struct shm_ring_prod *p)
{
	/* pairs with the release in shm_ring_cons_publish: slots below idx have been copied */
	uint32_t idx = atomic_load_explicit(p->cons_idx, memory_order_acquire);

	if (idx - p->cons_cached > p->head - p->cons_cached)
		return -EPROTO;
	p->cons_cached = idx;
	return 0;
}
