/* The descriptor table and its files: see fd.h. */
#include "fd.h"

#include "epoll.h"
#include "place.h"
#include "real.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libclient/internal.h>

enum {
	FILES_PER_CHUNK = 64,
};

pthread_mutex_t pl_lock = PTHREAD_MUTEX_INITIALIZER;
_Atomic(struct pl_file *) pl_fd_table[PL_FDS_MAX];

static struct pl_file *files_free;
static int fd_top;

static bool files_grow(void)
{
	struct pl_file *chunk = calloc(FILES_PER_CHUNK, sizeof(*chunk));

	if (!chunk)
		return false;
	for (int i = 0; i < FILES_PER_CHUNK; i++) {
		chunk[i].next_free = files_free;
		files_free = &chunk[i];
	}
	return true;
}

struct pl_file *pl_file_new(enum pl_kind kind, int native)
{
	struct pl_file *f;

	if (!files_free && !files_grow())
		return NULL;
	f = files_free;
	files_free = f->next_free;
	f->refs = 0;
	f->tentative = false;
	f->family = AF_UNSPEC;
	atomic_store_explicit(&f->nonblock, false, memory_order_relaxed);
	f->backlog = -1;
	memset(&f->bound, 0, sizeof(f->bound));
	f->opt_count = 0;
	atomic_store_explicit(&f->spoilt, false, memory_order_relaxed);
	atomic_store_explicit(&f->kick_fd, -1, memory_order_relaxed);
	atomic_store_explicit(&f->kernel_looked_ns, 0, memory_order_relaxed);
	pl_file_set(f, kind, native);
	return f;
}

struct pl_file *pl_file_new_socket(
	enum pl_kind kind, int native, int family, const struct pl_tag *tag)
{
	struct pl_file *f = pl_file_new(kind, native);

	if (!f)
		return NULL;
	f->family = family;
	f->tag = *tag;
	atomic_store_explicit(&f->nonblock, tag->nonblock, memory_order_relaxed);
	return f;
}

/* The native descriptor to close, or -1. */
static int file_free(struct pl_file *f)
{
	uint64_t state = atomic_load_explicit(&f->state, memory_order_relaxed);
	enum pl_kind kind = (enum pl_kind)(state >> 32);
	int kick_fd = atomic_exchange(&f->kick_fd, -1);

	if (kind != PL_KERNEL)
		pl_epoll_file_gone(f);
	if (kick_fd >= 0)
		pl_real()->close(kick_fd);
	free(f->opts);
	f->opts = NULL;
	pl_file_set(f, PL_FREE, -1);
	f->next_free = files_free;
	files_free = f;
	return kind == PL_NATIVE || kind == PL_EPOLL ? (int)(uint32_t)state : -1;
}

int pl_fd_remove(int fd)
{
	struct pl_file *f = pl_fd_file(fd);

	if (!f)
		return -1;
	atomic_store_explicit(&pl_fd_table[fd], NULL, memory_order_release);
	return --f->refs ? -1 : file_free(f);
}

bool pl_fd_install(int fd, struct pl_file *f)
{
	int stale;

	if ((unsigned int)fd >= PL_FDS_MAX)
		return false;
	f->refs++;
	stale = pl_fd_remove(fd);
	if (stale >= 0)
		mtcp_close(stale);
	atomic_store_explicit(&pl_fd_table[fd], f, memory_order_release);
	if (fd >= fd_top)
		fd_top = fd + 1;
	return true;
}

bool pl_fd_forget_spare(int fd, int *family, struct pl_tag *tag)
{
	int saved = errno;
	struct pl_file *f;
	bool spare;
	int native;

	pthread_mutex_lock(&pl_lock);
	f = pl_fd_file(fd);
	spare = f && f->refs == 1 && pl_file_kind(f) == PL_NATIVE &&
		!atomic_load_explicit(&f->spoilt, memory_order_relaxed);
	if (spare) {
		*family = f->family;
		*tag = f->tag;
		tag->nonblock = atomic_load_explicit(&f->nonblock, memory_order_relaxed);
	}
	native = pl_fd_remove(fd);
	pthread_mutex_unlock(&pl_lock);
	if (native >= 0)
		mtcp_close(native);
	errno = saved;
	return spare;
}

void pl_fd_forget(int fd)
{
	struct pl_tag tag;
	int family;

	pl_fd_forget_spare(fd, &family, &tag);
}

int pl_fd_top(void)
{
	return fd_top;
}

void pl_file_opt_record(struct pl_file *f, int level, int name, const void *value, uint32_t len)
{
	uint32_t i = 0;

	if (len > PL_OPT_BYTES_MAX)
		return;
	if (!f->opts && !(f->opts = calloc(PL_OPTS_MAX, sizeof(*f->opts))))
		return;
	while (i < f->opt_count && (f->opts[i].level != level || f->opts[i].name != name))
		i++;
	if (i == PL_OPTS_MAX)
		return;
	if (i == f->opt_count)
		f->opt_count++;
	f->opts[i] = (struct pl_opt){.level = level, .name = name, .len_bytes = len};
	memcpy(f->opts[i].value, value, len);
}

int pl_file_native(struct pl_file *f)
{
	uint64_t state = atomic_load_explicit(&f->state, memory_order_acquire);

	switch ((enum pl_kind)(state >> 32)) {
	case PL_NATIVE:
		return (int)(uint32_t)state;
	case PL_DEAD:
		return pl_place_revive(f);
	default:
		return -1;
	}
}

int pl_fd_native_epoll(int fd)
{
	struct pl_file *f = pl_fd_file(fd);
	uint64_t state = f ? atomic_load_explicit(&f->state, memory_order_acquire) : 0;

	return state >> 32 == PL_EPOLL ? (int)(uint32_t)state : -1;
}

/* The child's sockets of before are the parent's business; its locks are in unknown hands. */
static void fork_child(void)
{
	pthread_mutex_init(&pl_lock, NULL);
	for (int fd = 0; fd < fd_top; fd++) {
		struct pl_file *f = pl_fd_file(fd);

		if (f && pl_file_kind(f) == PL_NATIVE)
			pl_file_set(f, PL_DEAD, -1);
		else if (f && pl_file_kind(f) == PL_EPOLL)
			pl_file_set(f, PL_EPOLL, -1);
	}
}

__attribute__((constructor)) static void fd_init(void)
{
	pthread_atfork(NULL, NULL, fork_child);
}
