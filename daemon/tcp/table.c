/* Splitting and merging, in table.h's picture, come down to one act: take a chain apart and
 * hand each entry to the bucket where it belongs now. The lines of the old chain serve as
 * spares for the new ones, overflow lines first, so that a split never needs memory beyond
 * its bucket, and a merge at most one line, which is allocated before anything moves.
 */
#include <tcp/table.h>

#include <tcp/siphash.h>

#include <errno.h>

enum {
	SLOTS = 9,
	LOAD_MAX = 4, /* entries per bucket, on average, that make the table split one */
	LOAD_MIN = 2, /* ... or merge one */
	SEGMENT_BUCKETS = 1024,
	ENTRIES_MAX = 1 << 30,
	TAG_SHIFT = 12,
	TAG_BITS = 16,
};
static_assert(ENTRIES_MAX / LOAD_MAX <= 1 << (TAG_SHIFT + TAG_BITS), "the tag ends the hash");

/* Chains are packed: every line but the last is full, and no overflow line is empty. */
struct tcp_bucket {
	uint16_t tag[SLOTS]; /* bits 12 to 27 of the hash; bits 0 to 27 choose the bucket */
	uint16_t used;
	tcp_ref ref[SLOTS];
	struct tcp_bucket *next;
};
static_assert(sizeof(struct tcp_bucket) == 64, "one cache line");

static uint16_t tag_of(uint64_t hash)
{
	return (uint16_t)(hash >> TAG_SHIFT);
}

static uint32_t bucket_count(const struct tcp_table *t)
{
	return t->level_mask + 1 + t->split;
}

static struct tcp_bucket *bucket_at(const struct tcp_table *t, uint32_t i)
{
	return &t->segments[i / SEGMENT_BUCKETS][i % SEGMENT_BUCKETS];
}

static struct tcp_bucket *bucket_of(const struct tcp_table *t, uint64_t hash)
{
	uint32_t i = (uint32_t)hash & t->level_mask;

	if (i < t->split)
		i = (uint32_t)hash & (t->level_mask << 1 | 1);
	return bucket_at(t, i);
}

static void bucket_clear(struct tcp_bucket *b)
{
	b->used = 0;
	b->next = NULL;
}

static struct tcp_bucket *bucket_alloc(const struct tcp_table *t)
{
	return t->mem.alloc(t->mem.arg, sizeof(struct tcp_bucket));
}

static void bucket_free(const struct tcp_table *t, struct tcp_bucket *b)
{
	t->mem.free(t->mem.arg, b, sizeof(*b));
}

static void chain_free(const struct tcp_table *t, struct tcp_bucket *b)
{
	while (b) {
		struct tcp_bucket *next = b->next;

		bucket_free(t, b);
		b = next;
	}
}

/* -- memory ------------------------------------------------------------------------------ */

static size_t directory_bytes(const struct tcp_table *t)
{
	return (t->segment_max * sizeof(t->segments[0]) + 63) / 64 * 64;
}

static int segment_add(struct tcp_table *t)
{
	void *mem;

	if (t->segment_count == t->segment_max)
		return -ENOMEM;
	mem = t->mem.alloc(t->mem.arg, SEGMENT_BUCKETS * sizeof(struct tcp_bucket));
	if (!mem)
		return -ENOMEM;
	t->segments[t->segment_count++] = mem;
	return 0;
}

static void segment_drop(struct tcp_table *t)
{
	t->mem.free(t->mem.arg, t->segments[--t->segment_count],
		SEGMENT_BUCKETS * sizeof(struct tcp_bucket));
}

int tcp_table_init(struct tcp_table *t, const struct tcp_space *space, uint32_t entries_max,
	const uint8_t key[16], const struct tcp_table_mem *mem)
{
	if (entries_max == 0 || entries_max > ENTRIES_MAX)
		return -EINVAL;
	*t = (struct tcp_table){
		.space = space,
		.mem = *mem,
		.segment_max = entries_max / LOAD_MAX / SEGMENT_BUCKETS + 1,
		.entries_max = entries_max,
	};
	memcpy(t->key, key, sizeof(t->key));
	t->segments = mem->alloc(mem->arg, directory_bytes(t));
	if (!t->segments)
		return -ENOMEM;
	if (segment_add(t) < 0)
		goto out_directory;
	bucket_clear(bucket_at(t, 0));
	return 0;

out_directory:
	mem->free(mem->arg, t->segments, directory_bytes(t));
	t->segments = NULL;
	return -ENOMEM;
}

void tcp_table_fini(struct tcp_table *t)
{
	for (uint32_t i = 0; i < bucket_count(t); i++)
		chain_free(t, bucket_at(t, i)->next);
	while (t->segment_count)
		segment_drop(t);
	t->mem.free(t->mem.arg, t->segments, directory_bytes(t));
	memset(t, 0, sizeof(*t));
}

/* -- one chain ---------------------------------------------------------------------------- */

/* The last line of the chain, and the link that leads to it if it is an overflow line. */
static struct tcp_bucket *chain_last(struct tcp_bucket *b, struct tcp_bucket ***link)
{
	*link = NULL;
	while (b->next) {
		*link = &b->next;
		b = b->next;
	}
	return b;
}

static uint32_t chain_lines(const struct tcp_bucket *b)
{
	uint32_t n = 0;

	for (; b; b = b->next)
		n++;
	return n;
}

static uint32_t chain_entries(const struct tcp_bucket *b)
{
	uint32_t n = 0;

	for (; b; b = b->next)
		n += b->used;
	return n;
}

/* Finds `ref`; it must be there. */
static tcp_ref *chain_slot(struct tcp_bucket *b, tcp_ref ref, uint16_t **tag)
{
	for (; b; b = b->next)
		for (unsigned int i = 0; i < b->used; i++)
			if (b->ref[i] == ref) {
				*tag = &b->tag[i];
				return &b->ref[i];
			}
	return NULL;
}

/* Appends; a full chain grows by *spare, which may be NULL and then is allocated. */
static int chain_append(struct tcp_table *t, struct tcp_bucket *b, uint64_t hash, tcp_ref ref,
	struct tcp_bucket **spare)
{
	struct tcp_bucket **link;

	b = chain_last(b, &link);
	if (b->used == SLOTS) {
		struct tcp_bucket *more = *spare;

		if (more)
			*spare = more->next;
		else
			more = bucket_alloc(t);
		if (!more)
			return -ENOMEM;
		bucket_clear(more);
		b->next = more;
		b = more;
	}
	b->tag[b->used] = tag_of(hash);
	b->ref[b->used++] = ref;
	return 0;
}

/* -- growing and shrinking ---------------------------------------------------------------- */

/* What of an entry's hash chooses its bucket. In a table of many buckets that is its tag and the
 * number of the bucket where it has been, `from`: the entry need not be looked at. */
static uint64_t hash_again(
	const struct tcp_table *t, const struct tcp_bucket *line, unsigned int i, uint32_t from)
{
	const uint32_t below_tag = (1u << TAG_SHIFT) - 1;

	if (t->level_mask > below_tag) /* and so it was before the split */
		return (uint64_t)line->tag[i] << TAG_SHIFT | (from & below_tag);
	return tcp_table_hash(t, &tcp_space_entry(t->space, line->ref[i])->key);
}

static void line_rehash(struct tcp_table *t, const struct tcp_bucket *line, uint32_t from,
	struct tcp_bucket **spare)
{
	for (unsigned int i = 0; i < line->used; i++) {
		uint64_t hash = hash_again(t, line, i, from);
		int rc = chain_append(t, bucket_of(t, hash), hash, line->ref[i], spare);

		assert(rc == 0); /* the lines that were emptied are enough: merge_one() */
		(void)rc;
	}
}

/* Empties bucket `from` and puts its entries where they belong now. `spare` may hold a line;
 * lines left over are freed. */
static void bucket_rehash(struct tcp_table *t, uint32_t from, struct tcp_bucket *spare)
{
	struct tcp_bucket *b = bucket_at(t, from);
	struct tcp_bucket head = *b;
	struct tcp_bucket *line = head.next;

	bucket_clear(b);
	while (line) {
		struct tcp_bucket copy = *line;

		line->next = spare;
		spare = line;
		line_rehash(t, &copy, from, &spare);
		line = copy.next;
	}
	line_rehash(t, &head, from, &spare);
	chain_free(t, spare);
}

static void split_one(struct tcp_table *t)
{
	uint32_t old = t->split;
	uint32_t added = bucket_count(t);

	if (added / SEGMENT_BUCKETS == t->segment_count && segment_add(t) < 0)
		return;
	bucket_clear(bucket_at(t, added));
	if (t->split++ == t->level_mask) {
		t->level_mask = t->level_mask << 1 | 1;
		t->split = 0;
	}
	bucket_rehash(t, old, NULL);
}

static void merge_one(struct tcp_table *t)
{
	uint32_t gone = bucket_count(t) - 1;
	uint32_t into = t->split ? t->split - 1 : t->level_mask >> 1;
	const struct tcp_bucket *a = bucket_at(t, gone);
	const struct tcp_bucket *b = bucket_at(t, into);
	struct tcp_bucket *spare = NULL;

	/* Lines that remain to be used: all of both chains but the first one of `gone`. */
	if (chain_entries(a) + chain_entries(b) > SLOTS * (chain_lines(a) - 1 + chain_lines(b))) {
		spare = bucket_alloc(t);
		if (!spare)
			return;
		spare->next = NULL;
	}
	if (t->split == 0)
		t->level_mask >>= 1;
	t->split = into;
	bucket_rehash(t, gone, spare);
	if (gone % SEGMENT_BUCKETS == 0)
		segment_drop(t);
}

/* -- the interface ------------------------------------------------------------------------- */

uint64_t tcp_table_hash(const struct tcp_table *t, const struct net_tuple *key)
{
	if (!net_tuple_is_ip4(key))
		return tcp_siphash13(t->key, key, sizeof(*key));
	return tcp_siphash13_twelve(t->key, net_tuple_ip4_addrs(key), net_tuple_ports(key));
}

void tcp_table_prefetch(const struct tcp_table *t, uint64_t hash)
{
	__builtin_prefetch(bucket_of(t, hash));
}

tcp_ref tcp_table_guess(const struct tcp_table *t, uint64_t hash)
{
	const struct tcp_bucket *b = bucket_of(t, hash);
	uint16_t tag = tag_of(hash);

	for (unsigned int i = 0; i < b->used; i++)
		if (b->tag[i] == tag)
			return b->ref[i];
	return (tcp_ref)TCP_REF_NONE;
}

tcp_ref tcp_table_lookup(const struct tcp_table *t, uint64_t hash, const struct net_tuple *key)
{
	const struct tcp_bucket *b = bucket_of(t, hash);
	uint16_t tag = tag_of(hash);

	for (; b; b = b->next)
		for (unsigned int i = 0; i < b->used; i++)
			if (b->tag[i] == tag &&
				net_tuple_equal(&tcp_space_entry(t->space, b->ref[i])->key, key))
				return b->ref[i];
	return (tcp_ref)TCP_REF_NONE;
}

int tcp_table_insert(struct tcp_table *t, uint64_t hash, tcp_ref ref)
{
	const struct net_tuple *key = &tcp_space_entry(t->space, ref)->key;
	struct tcp_bucket *none = NULL;
	int rc;

	if (t->count == t->entries_max)
		return -ENOMEM;
	if (tcp_table_lookup(t, hash, key) != (tcp_ref)TCP_REF_NONE)
		return -EEXIST;
	rc = chain_append(t, bucket_of(t, hash), hash, ref, &none);
	if (rc < 0)
		return rc;
	t->count++;
	if (t->count / LOAD_MAX >= bucket_count(t))
		split_one(t);
	return 0;
}

void tcp_table_replace(struct tcp_table *t, uint64_t hash, tcp_ref old, tcp_ref ref)
{
	uint16_t *tag;
	tcp_ref *slot = chain_slot(bucket_of(t, hash), old, &tag);

	assert(slot && *tag == tag_of(hash));
	*slot = ref;
}

void tcp_table_remove(struct tcp_table *t, uint64_t hash, tcp_ref ref)
{
	struct tcp_bucket *b = bucket_of(t, hash);
	uint16_t *tag;
	tcp_ref *slot = chain_slot(b, ref, &tag);
	struct tcp_bucket **link;
	struct tcp_bucket *last = chain_last(b, &link);

	assert(slot && *tag == tag_of(hash));
	last->used--;
	*slot = last->ref[last->used];
	*tag = last->tag[last->used];
	if (last->used == 0 && link) {
		*link = NULL;
		bucket_free(t, last);
	}
	t->count--;
	if (bucket_count(t) > 1 && t->count / LOAD_MIN < bucket_count(t))
		merge_one(t);
}
