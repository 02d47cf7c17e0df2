/* From a kernel descriptor number to what this library knows about it.
 *
 * Each mtcp socket owns a real kernel socket, its placeholder: it reserves the number, has an
 * inode of its own, carries FD_CLOEXEC and O_NONBLOCK, and answers for anything that goes past
 * us. It outlives the socket, as the placeholder of another (spare.h). The table has one atomic
 * pointer a number: NULL is a descriptor of the kernel's alone, so that those cost one load. A
 * pointer leads to a struct pl_file, our counterpart of the kernel's open file description, shared
 * by dup()ed numbers.
 *
 * Files are recycled but never returned to the allocator, and `state` packs kind and native
 * descriptor into one word. A data call loads pointer and state and goes to the native library
 * without a lock and without a reference: a program that closes a descriptor while another of
 * its threads uses it races here exactly as it does with the kernel's own look-up. Everything
 * rare (placing, dup, close, membership of epoll sets) happens under pl_lock.
 *
 * Life of a socket:  PENDING -> NATIVE or KERNEL, decided by bind, listen or connect (place.h).
 * A NATIVE file may be `tentative` (bound to any address, no peer yet): connect may still move
 * it to the kernel. fork() turns the child's NATIVE files into DEAD ones, which behave like
 * their unconnected placeholder; a DEAD listener is set up anew when the child first uses it.
 */
#ifndef PRELOAD_FD_H
#define PRELOAD_FD_H

#include "spare.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

enum {
	PL_FDS_MAX = 1 << 20, /* higher numbers are always the kernel's */
	PL_OPTS_MAX = 16,     /* options remembered a socket */
	PL_OPT_BYTES_MAX = 16,
};

enum pl_kind {
	PL_FREE,
	PL_PENDING, /* a stream socket of IPv4 or IPv6, nobody's yet; the kernel answers */
	PL_NATIVE,  /* mtcpd's; the native descriptor is in the state */
	PL_KERNEL,  /* decided: the kernel's */
	PL_DEAD,    /* was native in the parent of this process */
	PL_EPOLL,   /* an epoll descriptor; native descriptor of its mtcp members, or -1 */
};

/* A socket option as the program set it, to be repeated on a socket made later. */
struct pl_opt {
	int level;
	int name;
	uint32_t len_bytes;
	uint8_t value[PL_OPT_BYTES_MAX];
};

/* A name of either family. */
union pl_name {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

struct pl_file {
	_Atomic uint64_t state; /* enum pl_kind above, native descriptor below */

	/* Under pl_lock. */
	uint32_t refs; /* numbers that lead here */
	bool tentative;
	int family;
	_Atomic bool nonblock; /* its O_NONBLOCK, as the program set it */
	int backlog;	       /* of a listener, else -1 */
	union pl_name bound;   /* sa.sa_family 0: not bound */
	uint32_t opt_count;
	struct pl_opt *opts; /* PL_OPTS_MAX of them, or NULL */
	struct pl_tag tag;   /* of the placeholder; whether it is nonblocking is above */
	_Atomic bool spoilt; /* the placeholder is not to be used again */
	struct pl_file *next_free;

	/* Epoll only. */
	_Atomic uint32_t sleepers;	   /* threads in the kernel's wait, see epoll.c */
	_Atomic int kick_fd;		   /* always readable, wakes them; -1: none */
	_Atomic uint64_t kernel_looked_ns; /* when the kernel's members were last asked */
};

extern pthread_mutex_t pl_lock;
extern _Atomic(struct pl_file *) pl_fd_table[PL_FDS_MAX];

static inline enum pl_kind pl_file_kind(struct pl_file *f)
{
	return (enum pl_kind)(atomic_load_explicit(&f->state, memory_order_acquire) >> 32);
}

/* pl_lock held, or the file not yet visible. */
static inline void pl_file_set(struct pl_file *f, enum pl_kind kind, int native)
{
	/* release: whoever sees the kind sees the native socket made before */
	atomic_store_explicit(
		&f->state, (uint64_t)kind << 32 | (uint32_t)native, memory_order_release);
}

static inline struct pl_file *pl_fd_file(int fd)
{
	if (__builtin_expect((unsigned int)fd >= PL_FDS_MAX, 0))
		return NULL;
	return atomic_load_explicit(&pl_fd_table[fd], memory_order_acquire);
}

/* The native descriptor of an mtcp socket, or -1: ask the kernel. Preserves errno. */
int pl_file_native(struct pl_file *f);
static inline int pl_fd_native(int fd)
{
	struct pl_file *f = pl_fd_file(fd);

	return __builtin_expect(!f, 1) ? -1 : pl_file_native(f);
}

/* The native epoll descriptor behind fd, or -1 if it has no mtcp members. */
int pl_fd_native_epoll(int fd);

/* All below: pl_lock held. */

/* A file without numbers; NULL when out of memory. Owned by the caller until installed. */
struct pl_file *pl_file_new(enum pl_kind kind, int native);
/* The same of a stream socket of `family`, with a placeholder of this tag. */
struct pl_file *pl_file_new_socket(
	enum pl_kind kind, int native, int family, const struct pl_tag *tag);
/* Makes fd lead to f; what it led to before is let go (a stale entry of a descriptor that was
 * closed behind our back). False if fd is beyond the table. */
bool pl_fd_install(int fd, struct pl_file *f);
/* fd leads nowhere any more. Returns the native socket that nobody holds now, to be closed with
 * mtcp_close() after unlocking, or -1. */
int pl_fd_remove(int fd);
/* Remembers an option for sockets made later; beyond PL_OPTS_MAX it is forgotten. */
void pl_file_opt_record(struct pl_file *f, int level, int name, const void *value, uint32_t len);
/* One past the highest number ever installed. */
int pl_fd_top(void);

/* Takes pl_lock, removes fd and closes natively what is left without a number. Preserves errno. */
void pl_fd_forget(int fd);
/* The same of a number that the caller then closes: by pl_spare_put() if true, with what *family
 * and *tag say. */
bool pl_fd_forget_spare(int fd, int *family, struct pl_tag *tag);

#endif
