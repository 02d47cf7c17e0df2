/* Two threads, each with a wait-free queue of bells; see ringer.h. */
#include "ringer.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <shm/doorbell.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum lane_kind { LANE_QUICK, LANE_SLOW, LANE_KINDS };

struct lane {
	struct cds_wfcq_head head;
	struct cds_wfcq_tail tail;
	sem_t count; /* of bells in the queue, and one to stop */
	_Atomic bool stop;
	pthread_t thread;
};

struct ringer {
	struct lane lane[LANE_KINDS];
};

/* -- bells ----------------------------------------------------------------------------------- */

struct bell *bell_new(int fd)
{
	struct bell *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->refs = 1;
	b->fd = fd;
	return b;
}

void bell_unref(struct bell *b)
{
	/* acquire and release: whoever frees it comes after all others */
	if (!b || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) > 1)
		return;
	close(b->fd);
	free(b);
}

/* -- the lanes --------------------------------------------------------------------------------- */

static struct bell *take(struct lane *l)
{
	struct cds_wfcq_node *n = __cds_wfcq_dequeue_blocking(&l->head, &l->tail);

	return n ? (struct bell *)(void *)((uint8_t *)n - offsetof(struct bell, node)) : NULL;
}

static void *run(void *arg)
{
	struct lane *l = arg;
	struct bell *b;
	uint32_t us;

	for (;;) {
		while (sem_wait(&l->count) < 0 && errno == EINTR)
			;
		if (atomic_load_explicit(&l->stop, memory_order_acquire)) /* lane_stop() */
			return NULL;
		b = take(l);
		if (!b)
			continue;
		/* before the ring: whoever still finds it set is covered by this ring */
		atomic_store_explicit(&b->queued, false, memory_order_seq_cst);
		us = shm_doorbell_pipe_ring_timed(b->fd, CLOCK_THREAD_CPUTIME_ID);
		atomic_store_explicit(&b->quick, us < RINGER_LONG_US, memory_order_relaxed);
		bell_unref(b);
	}
}

static int lane_start(struct lane *l)
{
	int err;

	cds_wfcq_init(&l->head, &l->tail);
	sem_init(&l->count, 0, 0);
	err = -pthread_create(&l->thread, NULL, run, l);
	if (!err)
		pthread_setname_np(l->thread, "ringer");
	return err;
}

static void lane_stop(struct lane *l)
{
	struct bell *b;

	atomic_store_explicit(&l->stop, true, memory_order_release); /* run() */
	sem_post(&l->count);
	pthread_join(l->thread, NULL);
	while ((b = take(l)))
		bell_unref(b);
	sem_destroy(&l->count);
	cds_wfcq_destroy(&l->head, &l->tail);
}

/* -- the ringer -------------------------------------------------------------------------------- */

int ringer_start(struct ringer **out)
{
	struct ringer *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	err = lane_start(&r->lane[LANE_QUICK]);
	if (err)
		goto out_free;
	err = lane_start(&r->lane[LANE_SLOW]);
	if (err)
		goto out_stop;
	*out = r;
	return 0;
out_stop:
	lane_stop(&r->lane[LANE_QUICK]);
out_free:
	free(r);
	return err;
}

void ringer_stop(struct ringer *r)
{
	if (!r)
		return;
	for (int i = 0; i < LANE_KINDS; i++)
		lane_stop(&r->lane[i]);
	free(r);
}

void ringer_ring(struct ringer *r, struct bell *b)
{
	bool quick = atomic_load_explicit(&b->quick, memory_order_relaxed);
	struct lane *l = &r->lane[quick ? LANE_QUICK : LANE_SLOW];

	/* what the client is to see is published before: pairs with the ringer's store */
	if (atomic_exchange_explicit(&b->queued, true, memory_order_seq_cst))
		return;
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	cds_wfcq_node_init(&b->node);
	cds_wfcq_enqueue(&l->head, &l->tail, &b->node);
	sem_post(&l->count);
}
