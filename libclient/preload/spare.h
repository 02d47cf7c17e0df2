/* Placeholders that are used again.
 *
 * The kernel opens a TCP socket in 3.6 us and closes it in 3.9, but a dup() and its close take 0.3
 * each. So the placeholder of an mtcp socket that is closed is kept, at a number of the library's
 * own, and the next socket or accepted connection gets it. It moves: it has one owner at a time,
 * and keeps an inode and flags of its own.
 *
 * Only one that is as good as new is kept: its socket was mtcpd's, nothing but O_NONBLOCK was ever
 * set on it, and no other process can have it. The last is what epochs are for: each fork
 * (clone, spawn) begins one and ends one, and a placeholder that has seen another epoch than
 * today's may be in the hands of a child, which would hold what is perhaps a connection of the
 * kernel's tomorrow. What reaches a placeholder otherwise spoils it, as does passing it on
 * (SCM_RIGHTS).
 *
 * A socket belongs to the network namespace that it was made in: who leaves his has no spares any
 * more. Spares are few, and give way where socket() or accept() find no number; open() and others
 * may find up to 128 numbers less than there would be. Should the program have closed one
 * past us, or its socket, the cookie (SO_COOKIE) is missing from whatever has the number now.
 *
 * Not seen: what goes past the C library to the placeholder of an mtcp socket (a raw system call
 * that sets an option on it, say). A spare keeps the user and the cgroup of its first maker.
 */
#ifndef PRELOAD_SPARE_H
#define PRELOAD_SPARE_H

#include <stdbool.h>
#include <stdint.h>

struct pl_file;

/* What is to be known of a placeholder, to use it again. */
struct pl_tag {
	uint64_t cookie;
	uint32_t epoch; /* in which its number was given out */
	bool nonblock;	/* its O_NONBLOCK */
};

/* A TCP socket of AF_INET or AF_INET6, nobody else's and as good as new, at the lowest number. Of
 * flags SOCK_NONBLOCK and SOCK_CLOEXEC count. The number and its tag, or -1 and errno. */
int pl_spare_take(int family, int flags, struct pl_tag *tag);
/* Closes fd, a placeholder that only this number leads to, and keeps what it was if it may. As
 * close(). */
int pl_spare_put(int fd, int family, const struct pl_tag *tag);
/* The placeholder of f (may be NULL) is not as good as new any more. Takes no lock. */
void pl_spare_spoil(struct pl_file *f);
/* The program wants this number: a spare that has it goes. */
void pl_spare_yield(int fd);

#endif
