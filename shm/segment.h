/* Shared-memory segments: a memfd with exactly one writing process.
 *
 * The daemon creates, sizes and populates every segment, from huge pages when asked and
 * when there are any, and keeps a mapping. `up` (daemon writes) has mode 0400 and is given
 * away as a descriptor reopened O_RDONLY: the receiver can neither map it writable, nor
 * reopen it, nor punch it. `down` (client writes) is sealed against resizing and mapped
 * PROT_READ by the daemon; a client can still punch holes into it, so the mapping is
 * registered with userfaultfd (UFFD_FEATURE_SIGBUS) where the kernel has it, and with
 * shm_guard, which survives SIGBUS inside it.
 */
#ifndef SHM_SEGMENT_H
#define SHM_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum shm_direction {
	SHM_UP,	  /* daemon writes, client reads */
	SHM_DOWN, /* client writes, daemon reads */
};

struct shm_segment {
	uint8_t *base;
	size_t len_bytes;
	int fd; /* the daemon's read-write descriptor; -1 on the client's side after mapping */
	bool huge;
	enum shm_direction direction;
};

/* Daemon: creates a populated segment of len_bytes (rounded up to 2 MiB) and maps it (up:
 * read-write, down: read-only). huge: try huge pages, fall back to plain ones. 0 or -errno. */
int shm_segment_create(
	struct shm_segment *s, enum shm_direction direction, size_t len_bytes, bool huge);

/* Daemon: a descriptor to hand to the client: for `up` reopened O_RDONLY, for `down` a
 * duplicate that is not the one the daemon maps by. The caller closes it. fd or -errno. */
int shm_segment_export(const struct shm_segment *s);

/* Client: maps a received descriptor of len_bytes with the protection of its direction
 * (MADV_DONTFORK), closes fd. 0 or -errno. */
int shm_segment_map(struct shm_segment *s, enum shm_direction direction, int fd, size_t len_bytes);

/* Unmaps and closes. Safe on a zeroed struct with fd -1. */
void shm_segment_destroy(struct shm_segment *s);

#endif
