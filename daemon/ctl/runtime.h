/* The runtime directory and the UNIX sockets in it.
 *
 * The directory is held by flock(2): two daemons with different directories run side by side,
 * and a second one on the same directory is refused. A socket file that is there already is
 * replaced only if nobody answers on it.
 */
#ifndef CTL_RUNTIME_H
#define CTL_RUNTIME_H

#include <stdbool.h>
#include <sys/types.h>

enum {
	RUNTIME_PATH_MAX = 108, /* as sun_path */
};

struct runtime {
	char dir[RUNTIME_PATH_MAX];
	int dir_fd; /* locked; -1 */
	bool made;  /* by us: removed at the end */
	gid_t gid;  /* of the group that may connect; -1: only our own user */
};

/* Makes (one level) and locks the directory. `group` may be empty; one that does not exist is
 * reported and counts as empty. 0 or -errno with the reason logged, -EADDRINUSE when another
 * daemon holds it. */
int runtime_open(struct runtime *rt, const char *dir, const char *group);

/* Removes the directory if it was made here (and is empty). Safe on dir_fd -1. */
void runtime_close(struct runtime *rt);

/* A listening socket dir/name of `type` (SOCK_SEQPACKET, SOCK_STREAM), non-blocking, CLOEXEC,
 * mode 0660 for the group or 0600 without. fd, or -errno with the reason logged. */
int runtime_listen(struct runtime *rt, const char *name, int type);

/* Removes the file of a socket made by runtime_listen(). */
void runtime_unlink(struct runtime *rt, const char *name);

#endif
