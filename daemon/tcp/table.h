/* The flow table: from a four-tuple to the entry that owns it.
 *
 * Linear hashing over buckets of one cache line. A bucket holds 9 references with 16-bit
 * tags, so that a miss costs one line and a hit that line and the entry, whose own key
 * decides; a bucket that overflows chains further lines. The table grows by splitting one
 * bucket per insertion and shrinks by merging one per removal, in a fixed order, so that no
 * operation ever rehashes more than two buckets and the engine never stops:
 *
 *     0 ........ split ........ 2^level ........ 2^level + split
 *     | split:    |  not yet:   | halves of the   |
 *     | 1 bit more|  level bits | first group     |
 *
 *     bucket(hash) = hash mod 2^level; if below split, hash mod 2^(level + 1)
 *
 * The tag is a part of what chooses buckets, so that entries of a large table move by their
 * tags, without being fetched. That leaves 28 - level bits of it to tell those of a bucket
 * apart: ten in a table of a million entries.
 *
 * Buckets live in segments of 64 KiB, allocated as `split` reaches them and freed as it
 * leaves them. When no memory is to be had the table stays at its size and its chains grow,
 * until not even a chain can: then tcp_table_insert() fails and nothing changed.
 *
 * Peers choose tuples, so the hash is keyed (SipHash-1-3): nobody can aim at one bucket.
 * The engine computes it once per packet and passes it around. The table is never trusted
 * after a restart: it is rebuilt by inserting every live entry of the arenas.
 */
#ifndef TCP_TABLE_H
#define TCP_TABLE_H

#include <tcp/tcp.h>

struct tcp_table_mem {
	/* Aligned memory of `size_bytes` (64 or 65536, and once the directory), aligned to 64
	 * bytes, or NULL. Need not be zeroed. */
	void *(*alloc)(void *arg, size_t size_bytes);
	void (*free)(void *arg, void *mem, size_t size_bytes);
	void *arg;
};

struct tcp_bucket;

/* Fields belong to table.c; the type is public for embedding only. */
struct tcp_table {
	const struct tcp_space *space;
	struct tcp_table_mem mem;
	struct tcp_bucket **segments; /* directory, segment_max pointers */
	uint32_t segment_max;
	uint32_t segment_count;
	uint32_t level_mask; /* 2^level - 1 */
	uint32_t split;
	uint32_t count;
	uint32_t entries_max;
	uint8_t key[16];
};

/* An empty table for at most `entries_max` entries (1 to 2^30), hashing with the 16 random
 * bytes of `key`. *space must outlive it. Returns 0, -EINVAL for entries_max out of range,
 * or -ENOMEM. */
int tcp_table_init(struct tcp_table *t, const struct tcp_space *space, uint32_t entries_max,
	const uint8_t key[16], const struct tcp_table_mem *mem);

/* Frees all memory; the entries themselves are not touched. */
void tcp_table_fini(struct tcp_table *t);

uint64_t tcp_table_hash(const struct tcp_table *t, const struct net_tuple *key);

/* Starts fetching the bucket of `hash`, for a burst: hash all, prefetch all, look up all. */
void tcp_table_prefetch(const struct tcp_table *t, uint64_t hash);

/* What a lookup will probably find, from the bucket alone, for whoever fetches entries ahead; or
 * (tcp_ref)TCP_REF_NONE. */
tcp_ref tcp_table_guess(const struct tcp_table *t, uint64_t hash);

/* The entry with that key, or (tcp_ref)TCP_REF_NONE. */
tcp_ref tcp_table_lookup(const struct tcp_table *t, uint64_t hash, const struct net_tuple *key);

/* Adds an entry whose `key` is set and stays as it is while it is in the table.
 * Returns 0, -EEXIST if the key is there already, or -ENOMEM: entries_max reached, or no
 * memory to chain a full bucket. */
int tcp_table_insert(struct tcp_table *t, uint64_t hash, tcp_ref ref);

/* Puts `ref` in the place of `old`, which must be in the table with the same key: for half ->
 * connection -> TIME-WAIT. Never fails, allocates nothing. */
void tcp_table_replace(struct tcp_table *t, uint64_t hash, tcp_ref old, tcp_ref ref);

/* Takes out an entry that is in the table. */
void tcp_table_remove(struct tcp_table *t, uint64_t hash, tcp_ref ref);

static inline uint32_t tcp_table_count(const struct tcp_table *t)
{
	return t->count;
}

#endif
