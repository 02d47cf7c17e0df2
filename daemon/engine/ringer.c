/* A thread and a wait-free queue of bells; see ringer.h. */
#include "ringer.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <shm/doorbell.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

struct ringer {
	struct cds_wfcq_head head;
	struct cds_wfcq_tail tail;
	sem_t count; /* of bells in the queue, and one to stop */
	_Atomic bool stop;
	pthread_t thread;
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

/* -- the thread -------------------------------------------------------------------------------- */

static struct bell *take(struct ringer *r)
{
	struct cds_wfcq_node *n = __cds_wfcq_dequeue_blocking(&r->head, &r->tail);

	return n ? (struct bell *)(void *)((uint8_t *)n - offsetof(struct bell, node)) : NULL;
}

static void *run(void *arg)
{
	struct ringer *r = arg;
	struct bell *b;

	for (;;) {
		while (sem_wait(&r->count) < 0 && errno == EINTR)
			;
		if (atomic_load_explicit(&r->stop, memory_order_acquire)) /* ringer_stop() */
			return NULL;
		b = take(r);
		if (!b)
			continue;
		/* before the ring: whoever still finds it set is covered by this ring */
		atomic_store_explicit(&b->queued, false, memory_order_seq_cst);
		shm_doorbell_pipe_ring(b->fd);
		bell_unref(b);
	}
}

int ringer_start(struct ringer **out)
{
	struct ringer *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	cds_wfcq_init(&r->head, &r->tail);
	sem_init(&r->count, 0, 0);
	err = -pthread_create(&r->thread, NULL, run, r);
	if (err) {
		free(r);
		return err;
	}
	pthread_setname_np(r->thread, "ringer");
	*out = r;
	return 0;
}

void ringer_stop(struct ringer *r)
{
	struct bell *b;

	if (!r)
		return;
	atomic_store_explicit(&r->stop, true, memory_order_release); /* run() */
	sem_post(&r->count);
	pthread_join(r->thread, NULL);
	while ((b = take(r)))
		bell_unref(b);
	sem_destroy(&r->count);
	cds_wfcq_destroy(&r->head, &r->tail);
	free(r);
}

void ringer_ring(struct ringer *r, struct bell *b)
{
	/* what the client is to see is published before: pairs with the ringer's store */
	if (atomic_exchange_explicit(&b->queued, true, memory_order_seq_cst))
		return;
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	cds_wfcq_node_init(&b->node);
	cds_wfcq_enqueue(&r->head, &r->tail, &b->node);
	sem_post(&r->count);
}
