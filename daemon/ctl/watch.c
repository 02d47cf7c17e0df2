/* Theory of operation: watch.h. Watches lie in a growing array; free ones and those of one
 * hash bucket are chained by index. */
#include "watch.h"

#include "engine_thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>

#define NONE UINT32_MAX

enum {
	BUCKETS = 1024,
	WINDOW_US = 1000000,
};

struct watch {
	uint32_t session; /* 0: free */
	uint32_t generation;
	uint32_t next; /* of the free list or of the bucket */
	int fd;
	bool polled;
	uint64_t window_us; /* when counting began */
	uint32_t wakes, spurious;
};

struct watch_set {
	pthread_mutex_t mutex;
	int epoll_fd;
	uint32_t capacity, free_head;
	struct watch_stats stats;
	struct watch *watches;
	uint32_t buckets[BUCKETS];
};

int watch_set_create(struct watch_set **out, int epoll_fd)
{
	struct watch_set *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return -ENOMEM;
	pthread_mutex_init(&w->mutex, NULL);
	w->epoll_fd = epoll_fd;
	w->free_head = NONE;
	for (uint32_t b = 0; b < BUCKETS; b++)
		w->buckets[b] = NONE;
	*out = w;
	return 0;
}

void watch_set_destroy(struct watch_set *w)
{
	if (w == NULL)
		return;
	pthread_mutex_destroy(&w->mutex);
	free(w->watches);
	free(w);
}

static uint32_t find(const struct watch_set *w, uint32_t session)
{
	uint32_t i = w->buckets[session % BUCKETS];

	while (i != NONE && w->watches[i].session != session)
		i = w->watches[i].next;
	return i;
}

static int grow(struct watch_set *w)
{
	uint32_t more = w->capacity ? w->capacity * 2 : 64;
	struct watch *watches;

	if (more > WATCH_MAX)
		return -ENOSPC;
	watches = realloc(w->watches, more * sizeof(*watches));
	if (watches == NULL)
		return -ENOMEM;
	for (uint32_t i = w->capacity; i < more; i++) {
		watches[i] = (struct watch){.next = w->free_head};
		w->free_head = i;
	}
	w->watches = watches;
	w->capacity = more;
	return 0;
}

static int add_locked(struct watch_set *w, uint32_t session, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	struct watch *watch;
	uint32_t i;
	int err = 0;

	if (find(w, session) != NONE)
		return -EEXIST;
	if (w->free_head == NONE)
		err = grow(w);
	if (err < 0)
		return err;
	i = w->free_head;
	watch = &w->watches[i];
	ev.data.u64 = (uint64_t)watch->generation << 32 | i;
	if (epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return -errno;
	w->free_head = watch->next;
	*watch = (struct watch){.session = session,
		.generation = watch->generation,
		.fd = fd,
		.next = w->buckets[session % BUCKETS]};
	w->buckets[session % BUCKETS] = i;
	w->stats.watched++;
	return 0;
}

int watch_add(struct watch_set *w, uint32_t session, int fd)
{
	int err;

	if (session == 0)
		return -EINVAL;
	pthread_mutex_lock(&w->mutex);
	err = add_locked(w, session, fd);
	pthread_mutex_unlock(&w->mutex);
	return err;
}

static void remove_locked(struct watch_set *w, uint32_t i)
{
	struct watch *watch = &w->watches[i];
	uint32_t *link = &w->buckets[watch->session % BUCKETS];

	while (*link != i)
		link = &w->watches[*link].next;
	*link = watch->next;
	if (watch->polled)
		w->stats.polled--;
	else
		epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	w->stats.watched--;
	/* The highest generations name the thread's own descriptors: never reached by wrapping. */
	*watch = (struct watch){
		.generation = (watch->generation + 1) & 0x7fffffff, .next = w->free_head};
	w->free_head = i;
}

void watch_remove(struct watch_set *w, uint32_t session)
{
	uint32_t i;

	pthread_mutex_lock(&w->mutex);
	i = find(w, session);
	if (i != NONE)
		remove_locked(w, i);
	pthread_mutex_unlock(&w->mutex);
}

/* The watch that an event names, NULL if it is gone. */
static struct watch *resolve(struct watch_set *w, uint64_t epoll_data)
{
	uint32_t i = (uint32_t)epoll_data;

	if (i >= w->capacity || w->watches[i].session == 0 ||
		w->watches[i].generation != (uint32_t)(epoll_data >> 32))
		return NULL;
	return &w->watches[i];
}

static void judge(struct watch_set *w, struct watch *watch)
{
	if (watch->polled || (watch->spurious < ENGINE_THREAD_FLOOD_SPURIOUS &&
				     watch->wakes < ENGINE_THREAD_FLOOD_WAKES))
		return;
	epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	watch->polled = true;
	w->stats.polled++;
	w->stats.floods++;
}

uint32_t watch_fired(struct watch_set *w, uint64_t epoll_data, uint64_t now_us)
{
	struct watch *watch;
	uint32_t session = 0;

	pthread_mutex_lock(&w->mutex);
	watch = resolve(w, epoll_data);
	if (watch != NULL) {
		session = watch->session;
		if (now_us - watch->window_us >= WINDOW_US) {
			watch->window_us = now_us;
			watch->wakes = watch->spurious = 0;
		}
		watch->wakes++;
		judge(w, watch);
	}
	pthread_mutex_unlock(&w->mutex);
	return session;
}

void watch_spurious(struct watch_set *w, uint64_t epoll_data)
{
	struct watch *watch;

	pthread_mutex_lock(&w->mutex);
	watch = resolve(w, epoll_data);
	if (watch != NULL) {
		watch->spurious++;
		judge(w, watch);
	}
	pthread_mutex_unlock(&w->mutex);
}

uint32_t watch_polled_next(struct watch_set *w, uint32_t *cursor, uint32_t *sessions, uint32_t max)
{
	uint32_t count = 0;

	pthread_mutex_lock(&w->mutex);
	if (w->stats.polled == 0)
		*cursor = w->capacity;
	for (; *cursor < w->capacity && count < max; (*cursor)++) {
		if (w->watches[*cursor].polled)
			sessions[count++] = w->watches[*cursor].session;
	}
	pthread_mutex_unlock(&w->mutex);
	return count;
}

bool watch_is_polled(struct watch_set *w, uint32_t session)
{
	bool polled;
	uint32_t i;

	pthread_mutex_lock(&w->mutex);
	i = find(w, session);
	polled = i != NONE && w->watches[i].polled;
	pthread_mutex_unlock(&w->mutex);
	return polled;
}

void watch_stats_get(struct watch_set *w, struct watch_stats *out)
{
	pthread_mutex_lock(&w->mutex);
	*out = w->stats;
	pthread_mutex_unlock(&w->mutex);
}
