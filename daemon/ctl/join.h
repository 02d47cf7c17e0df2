/* Attaching: from a valid attach message to a live session.
 *
 * join_begin() takes what the session counts against, makes its memory and doorbells, watches
 * its process and tells every engine. When all have answered, join_on_added() sends the
 * client its descriptors, or the first engine's error. Every step can fail and gives back what
 * was taken.
 */
#ifndef CTL_JOIN_H
#define CTL_JOIN_H

#include <ctl/session.h>

/* On success fd is the session's, else it stays the caller's. 0 or -errno: -EMFILE, no session or
 * descriptor left; -EDQUOT, the user has enough; -ENOMEM; -ESRCH, the process is gone. Counted. */
int join_begin(struct server *s, int fd, const struct peer *peer, const struct proto_msg_attach *m);

/* An engine has answered ENGINE_CMD_SESSION_ADD. */
void join_on_added(struct server *s, const struct engine_msg *m);

#endif
