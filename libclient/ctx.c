/* Contexts: ring pairs to every engine, shared by threads.
 *
 * A thread is given a context by turns when it first makes a socket; its sockets live there.
 * The producer lock covers the submission rings, the consumer lock the completion rings. Both
 * spin briefly, then sleep. Any thread may drain any context.
 *
 * A full submission ring is waited for, never dropped. The engine stops at an operation whose
 * answer has no room in the completion ring, so whoever waits for room to submit takes in
 * completions meanwhile: else the two waits would close a circle. What is taken in may lead to
 * submissions itself (a socket that was closed before its connect was answered, options set
 * before), and so to such a wait: then completions are put aside, in order, and applied when the
 * one that is being applied is done with. The wait ends when the session does.
 *
 * An operation that can wait is pushed quietly: a sleeping engine is rung for it together with
 * the next one that cannot, at the latest before a thread waits for anything.
 */
#include <libclient/client.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	FULL_SLEEP_NS = 100000,
	FETCH_AHEAD = 4,	       /* events */
	EMPTY_DRAINS_PER_CHECK = 1024, /* who never sleeps still hears of the daemon's death */
};

int ctx_open(struct ctx *c, uint32_t idx, int pipe_fd)
{
	uint8_t *down = ses.seg[SHM_DOWN][0].base;
	uint8_t *up = ses.seg[SHM_UP][0].base;
	const struct proto_layout *l = &ses.layout;

	c->pair = calloc(ses.engines, sizeof(*c->pair));
	if (!c->pair)
		return -ENOMEM;
	c->idx = idx;
	c->pipe_fd = pipe_fd;
	c->line = proto_layout_ctx_line(l, down, idx);
	for (uint32_t e = 0; e < ses.engines; e++) {
		struct ring_pair *p = &c->pair[e];

		p->line = proto_layout_submission_line(l, up, idx, e);
		shm_ring_prod_init(&p->sub, proto_layout_submission_slots(l, down, idx, e),
			&p->line->cons_idx, l->ring_order_log2);
		shm_ring_cons_init(&p->comp, proto_layout_completion_slots(l, up, idx, e),
			proto_layout_completion_idx(l, down, idx, e), l->ring_order_log2);
	}
	lock_take(&c->cons_lock);
	lock_take(&c->prod_lock);
	c->live = true;
	lock_drop(&c->prod_lock);
	lock_drop(&c->cons_lock);
	return 0;
}

void ctx_close(struct ctx *c)
{
	lock_take(&c->cons_lock);
	lock_take(&c->prod_lock);
	c->live = false;
	free(c->pair);
	c->pair = NULL;
	free(c->stash);
	c->stash = NULL;
	c->stashed = c->stash_room = 0;
	lock_drop(&c->prod_lock);
	lock_drop(&c->cons_lock);
}

/* -- completions --------------------------------------------------------------------------- */

static __thread char me
	__attribute__((tls_model("initial-exec"))); /* its address tells this thread from others */

static bool stash_push(struct ctx *c, uint32_t engine, const struct proto_slot *slot)
{
	if (c->stashed == c->stash_room) {
		uint32_t room = c->stash_room ? c->stash_room * 2 : 64;
		struct stashed *more = realloc(c->stash, room * sizeof(*more));

		if (!more)
			return false;
		c->stash = more;
		c->stash_room = room;
	}
	c->stash[c->stashed++] = (struct stashed){engine, *slot};
	return true;
}

/* Puts aside what there is, so that the engines have room for answers. A slot for which there is no
 * memory stays where it is. True if there was something. */
static bool stash_all(struct ctx *c)
{
	struct proto_slot slot;
	uint32_t before = c->stashed;

	for (uint32_t e = 0; e < ses.engines; e++) {
		struct shm_ring_cons *ring = &c->pair[e].comp;
		struct shm_ring_cons as_it_was = *ring;

		while (shm_ring_cons_pop(ring, &slot.copy) && stash_push(c, e, &slot))
			as_it_was = *ring;
		*ring = as_it_was;
		shm_ring_cons_publish(ring);
	}
	return c->stashed != before;
}

/* Whether this thread is within drain_locked(c), further up. */
static bool is_drainer(struct ctx *c)
{
	return atomic_load_explicit(&c->drainer, memory_order_relaxed) == &me;
}

/* Applying one may put further ones aside, behind. */
static void apply_stash(struct ctx *c)
{
	for (uint32_t i = 0; i < c->stashed; i++) {
		struct stashed next = c->stash[i];

		event_apply(c, next.engine, &next.slot);
		c->events++;
	}
	c->stashed = 0;
}

/* Fetches the socket of an event that comes a little later, if it is one of a connection: among
 * many sockets each is a miss. The slot is looked at again, and judged, in its turn. */
static void fetch_ahead(const struct shm_ring_cons *ring)
{
	uint32_t idx = ring->tail + FETCH_AHEAD;
	const struct shm_slot *slot = &ring->slots[idx & ring->mask];
	uint64_t head = atomic_load_explicit(&slot->word[0], memory_order_acquire);

	if ((head & SHM_SLOT_PHASE) == shm_ring_phase(idx, ring->mask) &&
		proto_head_op(head) == PROTO_EV_FLOW)
		sock_fetch((uint32_t)atomic_load_explicit(&slot->word[1], memory_order_relaxed));
}

static uint32_t drain_ring(struct ctx *c, uint32_t engine)
{
	struct shm_ring_cons *ring = &c->pair[engine].comp;
	struct proto_slot slot;
	uint32_t n = 0;

	while (n <= ring->mask && shm_ring_cons_pop(ring, &slot.copy)) {
		fetch_ahead(ring);
		shm_ring_cons_publish(ring); /* before: what is applied may submit, and wait */
		event_apply(c, engine, &slot);
		apply_stash(c);
		n++;
	}
	return n;
}

/* What the last drain left off at is what it published. */
bool ctx_has_news(const struct ctx *c, uint32_t engine)
{
	const struct shm_ring_cons *ring = &c->pair[engine].comp;
	uint32_t idx = atomic_load_explicit(ring->cons_idx, memory_order_relaxed);
	uint64_t head =
		atomic_load_explicit(&ring->slots[idx & ring->mask].word[0], memory_order_relaxed);

	return (head & SHM_SLOT_PHASE) == shm_ring_phase(idx, ring->mask);
}

static bool drain_locked(struct ctx *c)
{
	uint32_t n = 0;

	if (!c->live || !session_live())
		return false;
	atomic_store_explicit(&c->drainer, &me, memory_order_relaxed);
	for (uint32_t e = 0; e < ses.engines; e++)
		n += drain_ring(c, e);
	atomic_store_explicit(&c->drainer, NULL, memory_order_relaxed);
	c->events += n;
	if (n) {
		c->empty_drains = 0;
		wait_wake_any();
		return true;
	}
	if (atomic_load_explicit(&ses.up_header->condemned, memory_order_relaxed) ||
		++c->empty_drains % EMPTY_DRAINS_PER_CHECK == 0)
		session_check();
	return false;
}

bool ctx_drain(struct ctx *c, bool block)
{
	bool any;

	if (block)
		lock_take(&c->cons_lock);
	else if (!lock_try(&c->cons_lock))
		return false;
	any = drain_locked(c);
	lock_drop(&c->cons_lock);
	return any;
}

bool ctx_drain_all(bool block)
{
	bool any = false;

	if (!session_live())
		return false;
	ctx_settle();
	for (uint32_t i = 0, n = wait_contexts(); i < n; i++)
		any |= ctx_drain(&ses.ctx[i], block);
	return any;
}

/* -- submissions --------------------------------------------------------------------------- */

/* prod_lock held, under which alone it changes. */
static void owe(struct ctx *c, uint32_t engine, bool yes)
{
	uint64_t bit = UINT64_C(1) << engine;
	uint64_t owed = atomic_load_explicit(&c->owed, memory_order_relaxed);

	if (!(owed & bit) == yes)
		atomic_store_explicit(&c->owed, owed ^ bit, memory_order_relaxed);
}

/* prod_lock held. */
static void ring_engine(struct ctx *c, uint32_t engine)
{
	struct ring_pair *p = &c->pair[engine];

	if (atomic_load_explicit(&c->owed, memory_order_relaxed))
		owe(c, engine, false);
	if (!shm_sleep_check_once(&p->line->unwatched, &p->rung))
		return;
	count(&counters.doorbells);
	shm_doorbell_event_ring(ses.engine_fd[engine]);
}

/* Any thread, on its way into a wait. */
void ctx_settle(void)
{
	rx_tell_late();
	for (uint32_t i = 0, n = wait_contexts(); i < n; i++) {
		struct ctx *c = &ses.ctx[i];

		if (!atomic_load_explicit(&c->owed, memory_order_relaxed))
			continue;
		lock_take(&c->prod_lock);
		for (uint32_t e = 0; c->live && e < ses.engines; e++)
			if (atomic_load(&c->owed) >> e & 1)
				ring_engine(c, e);
		lock_drop(&c->prod_lock);
	}
}

/* 0, -EAGAIN (full; the engine was rung), -ENETDOWN. */
static int push_once(struct ctx *c, uint32_t engine, const struct proto_slot *slot, bool quiet)
{
	int err = -ENETDOWN;

	lock_take(&c->prod_lock);
	if (c->live && session_live()) {
		err = shm_ring_prod_push(&c->pair[engine].sub, &slot->copy);
		if (!err)
			c->operations++;
		if (!err && quiet)
			owe(c, engine, true);
		else if (err != -EPROTO)
			ring_engine(c, engine);
	}
	lock_drop(&c->prod_lock);
	return err;
}

/* The ring was full, or what its other end says of it is impossible. */
static __attribute__((noinline)) int push_again(
	struct ctx *c, uint32_t engine, const struct proto_slot *slot, bool quiet, int err)
{
	const struct timespec pause = {0, FULL_SLEEP_NS};

	while (err == -EAGAIN) {
		count(&counters.ring_full_waits);
		if (!session_check())
			return -ENETDOWN;
		if (!(is_drainer(c) ? stash_all(c) : ctx_drain(c, false)))
			nanosleep(&pause, NULL);
		err = push_once(c, engine, slot, quiet);
	}
	if (err == -EPROTO) {
		session_lost();
		err = -ENETDOWN;
	}
	return err;
}

static int push(uint32_t ctx, uint32_t engine, const struct proto_slot *slot, bool quiet)
{
	struct ctx *c = &ses.ctx[ctx];
	int err = push_once(c, engine, slot, quiet);

	return err == 0 ? 0 : push_again(c, engine, slot, quiet, err);
}

int ctx_push(uint32_t ctx, uint32_t engine, const struct proto_slot *slot)
{
	return push(ctx, engine, slot, false);
}

int ctx_push_quiet(uint32_t ctx, uint32_t engine, const struct proto_slot *slot)
{
	return push(ctx, engine, slot, true);
}
