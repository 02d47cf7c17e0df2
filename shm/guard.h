/* Survives SIGBUS inside a client's segment.
 *
 * A client may punch holes into its `down`, or the huge-page pool may be empty when a hole
 * is touched: the daemon's read then raises SIGBUS. The handler finds the guarded range
 * that holds the address, maps anonymous zeroes over the whole range, sets its `condemned`
 * flag and returns: the read goes on with zeroes, which harm only that client's own stream.
 * A SIGBUS elsewhere takes the previous action. Ranges are held in a fixed lock-free table;
 * add and remove are called by the main thread only, the handler runs on any thread.
 */
#ifndef SHM_GUARD_H
#define SHM_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum {
	SHM_GUARD_RANGES_MAX = 16384,
};

/* Installs the SIGBUS handler and opens the userfaultfd; *has_uffd tells if holes fault at
 * once (else they may allocate). Once per process. 0 or -errno. */
int shm_guard_init(bool *has_uffd);

/* Guards [base, base + len). *condemned becomes true when a fault was caught there. */
int shm_guard_add(void *base, size_t len_bytes, _Atomic bool *condemned);
void shm_guard_remove(void *base);

#endif
