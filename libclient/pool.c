/* Transmit memory: blocks of three sizes cut from `down`.
 *
 * Payload is cut into slabs of 64 KiB. A slab is one large block, 4 medium ones of 16 KiB or 32
 * small ones of 2 KiB; it goes back to the free slabs when its last block does. A socket takes
 * blocks as it writes and gives them back as the peer acknowledges, so memory follows what is in
 * flight, not the number of sockets. What describes a block lies beside the shared memory.
 *
 *	large writes, and connections that keep much in flight: large blocks
 *	a request or a page: medium or small ones; small writes fill the open block first
 *
 * When the slabs are used up `down` grows, doubling, to the session's limit; at the limit a
 * sender waits in `starved` and is woken by whoever frees a block.
 */
#include <libclient/client.h>

#include <stdlib.h>
#include <string.h>

enum {
	SLAB_BYTES = 65536,
	CLASSES = 3,
	GROW_MIN_BYTES = 4 << 20,
	GROW_PAUSE_MS = 200, /* after a refusal */
};
static const uint32_t class_bytes[CLASSES] = {2048, 16384, 65536};
static_assert(SLAB_BYTES / 2048 == 32 && SLAB_BYTES / 16384 == 4, "all_free()");

struct tx_slab {
	uint8_t *mem;
	proto_ref ref;
	uint32_t free_mask; /* blocks not in use */
	uint8_t class;
	bool listed; /* in partial[class] */
	TAILQ_ENTRY(tx_slab) link;
	struct tx_block *blocks; /* of the class, while the slab has one */
};
TAILQ_HEAD(slab_list, tx_slab);

static struct lock pool_lock;
static struct slab_list free_slabs = TAILQ_HEAD_INITIALIZER(free_slabs);
static struct slab_list partial[CLASSES];
static struct tx_slab *slab_arrays[PROTO_SEGMENTS_MAX];
static uint64_t total_bytes;
static uint64_t grow_again_ns;
static uint32_t starved = SOCK_IDX_NONE; /* a list by pool_next */
static _Atomic uint32_t starved_count;

static void lists_init(void)
{
	TAILQ_INIT(&free_slabs);
	starved = SOCK_IDX_NONE;
	for (int i = 0; i < CLASSES; i++)
		TAILQ_INIT(&partial[i]);
	memset(slab_arrays, 0, sizeof(slab_arrays));
	total_bytes = 0;
	atomic_store(&starved_count, 0);
}

void pool_fork_child(void)
{
	pool_lock = (struct lock){0};
	lists_init();
}

/* Adds [first, bytes) of segment number `segment`, mapped at base. 0, -ENOMEM. */
int pool_add(uint32_t segment, uint8_t *base, size_t bytes, size_t first)
{
	size_t count = (bytes - first) / SLAB_BYTES;
	struct tx_slab *slabs = calloc(count ? count : 1, sizeof(*slabs));

	if (!slabs)
		return -ENOMEM;
	lock_take(&pool_lock);
	if (!total_bytes)
		lists_init();
	slab_arrays[segment] = slabs;
	for (size_t i = 0; i < count; i++) {
		slabs[i].mem = base + first + i * SLAB_BYTES;
		slabs[i].ref = proto_ref_make(segment, first + i * SLAB_BYTES);
		TAILQ_INSERT_TAIL(&free_slabs, &slabs[i], link);
	}
	total_bytes += bytes;
	lock_drop(&pool_lock);
	return 0;
}

/* The session's memory is about to go; no socket holds a block. */
void pool_fini(void)
{
	struct tx_slab *s;

	lock_take(&pool_lock);
	for (int i = 0; i < CLASSES && total_bytes; i++)
		TAILQ_FOREACH(s, &partial[i], link)
	free(s->blocks);
	for (int i = 0; i < PROTO_SEGMENTS_MAX; i++)
		free(slab_arrays[i]);
	lists_init();
	lock_drop(&pool_lock);
}

/* -- slabs; pool_lock held ----------------------------------------------------------------- */

/* As a mask: all blocks of a slab of the class. */
static uint32_t all_free(uint8_t class)
{
	static const uint32_t mask[CLASSES] = {UINT32_MAX, 0xf, 0x1};

	return mask[class];
}

static struct tx_slab *slab_open(uint8_t class)
{
	uint32_t count = SLAB_BYTES / class_bytes[class];
	struct tx_slab *s = TAILQ_FIRST(&free_slabs);

	if (!s)
		return NULL;
	s->blocks = calloc(count, sizeof(*s->blocks));
	if (!s->blocks)
		return NULL;
	for (uint32_t i = 0; i < count; i++) {
		s->blocks[i].slab = s;
		s->blocks[i].sub = (uint8_t)i;
		s->blocks[i].mem = s->mem + (size_t)i * class_bytes[class];
		s->blocks[i].ref = s->ref + (uint64_t)i * class_bytes[class];
		s->blocks[i].cap = class_bytes[class];
	}
	TAILQ_REMOVE(&free_slabs, s, link);
	TAILQ_INSERT_HEAD(&partial[class], s, link);
	s->class = class;
	s->listed = true;
	s->free_mask = all_free(class);
	return s;
}

static inline struct tx_block *block_take(uint8_t class)
{
	struct tx_slab *s = TAILQ_FIRST(&partial[class]);
	struct tx_block *b;

	if (!s)
		s = slab_open(class);
	if (!s)
		return NULL;
	b = &s->blocks[__builtin_ctz(s->free_mask)];
	s->free_mask &= s->free_mask - 1;
	if (!s->free_mask) {
		TAILQ_REMOVE(&partial[class], s, link);
		s->listed = false;
	}
	b->used = 0;
	return b;
}

static void block_give(struct tx_block *b)
{
	struct tx_slab *s = b->slab;
	bool spare;

	s->free_mask |= UINT32_C(1) << b->sub;
	if (!s->listed)
		TAILQ_INSERT_TAIL(&partial[s->class], s, link);
	s->listed = true;
	if (s->free_mask != all_free(s->class))
		return;
	/* The last slab of a class stays, or each small message would cut a slab anew. */
	spare = TAILQ_FIRST(&partial[s->class]) != s || TAILQ_NEXT(s, link);
	if (!spare && !TAILQ_EMPTY(&free_slabs))
		return;
	TAILQ_REMOVE(&partial[s->class], s, link);
	free(s->blocks);
	s->blocks = NULL;
	s->listed = false;
	TAILQ_INSERT_HEAD(&free_slabs, s, link);
}

/* -- blocks -------------------------------------------------------------------------------- */

static uint8_t class_for(struct sock *s, size_t want_bytes)
{
	uint32_t flight = sock_unacked(s);

	if (want_bytes <= class_bytes[0] && flight < class_bytes[1])
		return 0;
	return want_bytes <= class_bytes[1] && flight < class_bytes[2] ? 1 : 2;
}

/* Of a smaller class, or of a larger one that is cut already. pool_lock held. */
static struct tx_block *take_other(uint8_t class)
{
	struct tx_block *b = NULL;

	for (int i = class - 1; i >= 0 && !b; i--)
		b = block_take((uint8_t)i);
	for (int i = class + 1; i < CLASSES && !b; i++)
		if (!TAILQ_EMPTY(&partial[i]))
			b = block_take((uint8_t)i);
	return b;
}

static struct tx_block *take_any(uint8_t class)
{
	struct tx_block *b;

	lock_take(&pool_lock);
	b = block_take(class);
	if (!b)
		b = take_other(class);
	lock_drop(&pool_lock);
	return b;
}

/* Asks the daemon for more. True if there may be some now. */
static bool grow(void)
{
	uint64_t now = wait_now_ns(), bytes, have;
	bool may;

	lock_take(&pool_lock);
	have = total_bytes;
	may = now >= grow_again_ns && have < ses.info.down_max_bytes;
	if (may)
		grow_again_ns = now + GROW_PAUSE_MS * 1000000u;
	lock_drop(&pool_lock);
	if (!may)
		return false;
	bytes = have < GROW_MIN_BYTES ? GROW_MIN_BYTES : have;
	if (bytes > ses.info.down_max_bytes - have)
		bytes = ses.info.down_max_bytes - have;
	if (control_grow(bytes))
		return false;
	lock_take(&pool_lock);
	grow_again_ns = 0;
	lock_drop(&pool_lock);
	return true;
}

struct tx_block *pool_alloc(struct sock *s, size_t want_bytes)
{
	uint8_t class = class_for(s, want_bytes);
	struct tx_block *b = take_any(class);

	if (!b && grow())
		b = take_any(class);
	if (!b)
		count(&counters.pool_empty);
	return b;
}

/* -- those who found nothing --------------------------------------------------------------- */

/* Marks s as not writable until a block is freed. Its lock is held. */
void pool_wait(struct sock *s)
{
	struct sock_cold *cold = sock_cold(s);

	lock_take(&pool_lock);
	if (!atomic_load(&s->pool_wait)) {
		atomic_store(&s->pool_wait, true);
		cold->pool_prev = SOCK_IDX_NONE;
		cold->pool_next = starved;
		if (starved != SOCK_IDX_NONE)
			sock_table.cold[starved].pool_prev = sock_idx(s);
		starved = sock_idx(s);
		atomic_fetch_add(&starved_count, 1);
	}
	lock_drop(&pool_lock);
}

/* pool_lock held. */
static void starved_remove(struct sock *s)
{
	const struct sock_cold *cold = sock_cold(s);

	if (cold->pool_prev != SOCK_IDX_NONE)
		sock_table.cold[cold->pool_prev].pool_next = cold->pool_next;
	else
		starved = cold->pool_next;
	if (cold->pool_next != SOCK_IDX_NONE)
		sock_table.cold[cold->pool_next].pool_prev = cold->pool_prev;
	atomic_store(&s->pool_wait, false);
	atomic_fetch_sub(&starved_count, 1);
}

void pool_unwait(struct sock *s)
{
	if (!atomic_load_explicit(&s->pool_wait, memory_order_relaxed))
		return; /* and with its lock held nobody makes it wait */
	lock_take(&pool_lock);
	if (atomic_load(&s->pool_wait))
		starved_remove(s);
	lock_drop(&pool_lock);
}

/* All of them: who comes first is not for us to say, and they are few. */
static void wake_starved(void)
{
	uint32_t n = atomic_load(&starved_count);
	struct sock *s;

	while (n--) {
		lock_take(&pool_lock);
		s = sock_at(starved);
		if (s)
			starved_remove(s);
		lock_drop(&pool_lock);
		if (!s)
			return;
		sock_wake_unlocked(s, POLLOUT | POLLWRNORM);
	}
}

void pool_free(struct tx_block *b)
{
	lock_take(&pool_lock);
	block_give(b);
	lock_drop(&pool_lock);
	if (atomic_load(&starved_count))
		wake_starved();
}
