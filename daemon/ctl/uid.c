/* The table of users: a chained hash; see uid.h. Tokens are counted in millionths, so that a
 * rate per second is a rate per microsecond without division. */
#include <ctl/uid.h>

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

enum {
	BUCKETS = 1024, /* a power of two */
	TOKEN = 1000000,
};

struct entry {
	struct entry *next;
	uint32_t uid;
	uint32_t sessions;
	uint32_t pending;
	uint64_t memory_bytes;
	uint64_t tokens; /* in millionths */
	uint64_t filled_us;
};

struct uid_table {
	struct uid_limits limits;
	uint32_t count;
	uint64_t memory_bytes;
	struct entry *bucket[BUCKETS];
};

int uid_table_create(struct uid_table **t, const struct uid_limits *limits)
{
	*t = calloc(1, sizeof(**t));
	if (!*t)
		return -ENOMEM;
	(*t)->limits = *limits;
	return 0;
}

void uid_table_destroy(struct uid_table *t)
{
	if (!t)
		return;
	for (unsigned int b = 0; b < BUCKETS; b++) {
		while (t->bucket[b]) {
			struct entry *e = t->bucket[b];

			t->bucket[b] = e->next;
			free(e);
		}
	}
	free(t);
}

static unsigned int bucket_of(uint32_t uid)
{
	return (uid * 2654435761u) >> 22;
}
static_assert(BUCKETS == 1 << 10, "bucket_of() yields 10 bits");

static struct entry *find(const struct uid_table *t, uint32_t uid)
{
	struct entry *e = t->bucket[bucket_of(uid)];

	while (e && e->uid != uid)
		e = e->next;
	return e;
}

static uint64_t tokens_max(const struct uid_table *t)
{
	return (uint64_t)t->limits.attach_rate_per_s * TOKEN;
}

static struct entry *find_or_add(struct uid_table *t, uint32_t uid, uint64_t now_us)
{
	struct entry *e = find(t, uid);

	if (e)
		return e;
	if (t->count >= UID_ENTRIES_MAX)
		return NULL;
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->uid = uid;
	e->tokens = tokens_max(t);
	e->filled_us = now_us;
	e->next = t->bucket[bucket_of(uid)];
	t->bucket[bucket_of(uid)] = e;
	t->count++;
	return e;
}

static void fill(const struct uid_table *t, struct entry *e, uint64_t now_us)
{
	uint64_t elapsed_us = now_us > e->filled_us ? now_us - e->filled_us : 0;

	if (elapsed_us >= TOKEN)
		e->tokens = tokens_max(t);
	else
		e->tokens += elapsed_us * t->limits.attach_rate_per_s;
	if (e->tokens > tokens_max(t))
		e->tokens = tokens_max(t);
	e->filled_us = now_us;
}

int uid_pending_begin(struct uid_table *t, uint32_t uid, uint64_t now_us)
{
	struct entry *e = find_or_add(t, uid, now_us);

	if (!e)
		return -ENOMEM;
	if (e->pending >= t->limits.pending_max)
		return -EAGAIN;
	e->pending++;
	return 0;
}

void uid_pending_end(struct uid_table *t, uint32_t uid)
{
	struct entry *e = find(t, uid);

	assert(e && e->pending > 0);
	e->pending--;
}

int uid_rate_take(struct uid_table *t, uint32_t uid, uint64_t now_us)
{
	struct entry *e = find_or_add(t, uid, now_us);

	if (!e)
		return -ENOMEM;
	fill(t, e, now_us);
	if (e->tokens < TOKEN)
		return -EAGAIN;
	e->tokens -= TOKEN;
	return 0;
}

int uid_session_begin(struct uid_table *t, uint32_t uid, uint64_t now_us)
{
	struct entry *e = find_or_add(t, uid, now_us);

	if (!e)
		return -ENOMEM;
	if (e->sessions >= t->limits.sessions_max)
		return -EDQUOT;
	e->sessions++;
	return 0;
}

void uid_session_end(struct uid_table *t, uint32_t uid)
{
	struct entry *e = find(t, uid);

	assert(e && e->sessions > 0);
	e->sessions--;
}

int uid_memory_take(struct uid_table *t, uint32_t uid, uint64_t bytes)
{
	struct entry *e = find(t, uid);

	assert(e && e->sessions > 0);
	if (bytes > t->limits.memory_max_bytes - e->memory_bytes ||
		bytes > t->limits.memory_all_max_bytes - t->memory_bytes)
		return -ENOMEM;
	e->memory_bytes += bytes;
	t->memory_bytes += bytes;
	return 0;
}

void uid_memory_give(struct uid_table *t, uint32_t uid, uint64_t bytes)
{
	struct entry *e = find(t, uid);

	assert(e && e->memory_bytes >= bytes);
	e->memory_bytes -= bytes;
	t->memory_bytes -= bytes;
}

uint32_t uid_sessions(const struct uid_table *t, uint32_t uid)
{
	const struct entry *e = find(t, uid);

	return e ? e->sessions : 0;
}

uint32_t uid_table_sweep(struct uid_table *t, uint64_t now_us)
{
	for (unsigned int b = 0; b < BUCKETS; b++) {
		struct entry **at = &t->bucket[b];

		while (*at) {
			struct entry *e = *at;

			fill(t, e, now_us);
			if (e->sessions || e->pending || e->tokens < tokens_max(t)) {
				at = &e->next;
				continue;
			}
			*at = e->next;
			free(e);
			t->count--;
		}
	}
	return t->count;
}
