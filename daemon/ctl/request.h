/* What an attached client may ask for: names and memory.
 *
 * A malformed message ends its session. Listening and growing involve every engine; the
 * session is busy until they have answered, and nothing more is read from its socket, so a
 * client has at most one message at each engine.
 *
 * Order of growth: an engine must know a `down` segment before the client may refer to it, and
 * the client must know an `up` segment before an engine refers to it. So the first is announced
 * after the engines' answers, the second before they are told.
 */
#ifndef CTL_REQUEST_H
#define CTL_REQUEST_H

struct ctl_session;
struct engine_msg;
struct server;

enum {
	REQUESTS_MAX = 8, /* of one session per turn of the loop */
};

/* The client's socket is readable. */
void request_receive(struct ctl_session *c);

/* ENGINE_NOTE_NEED_UP: one engine wants more receive memory for a session. */
void request_need_up(struct server *s, const struct engine_msg *m);

#endif
