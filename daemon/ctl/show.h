/* Answers to mtcpctl: one object per request, stepped until it is done.
 *
 * A step adds one bounded batch of lines. What only an engine knows is asked from it with one
 * message at a time, a batch from a cursor; while that is under way the answer waits, and the
 * message outlives it if the connection goes.
 */
#ifndef CTL_SHOW_H
#define CTL_SHOW_H

#include <ctl/out.h>

#include <stdint.h>

enum {
	SHOW_BATCH = 128, /* lines added by a step, at most, but for tables of fixed size */
};

enum show_result {
	SHOW_MORE, /* call again when the lines have been sent */
	SHOW_WAIT, /* an engine was asked: control_resume() follows */
	SHOW_DONE,
};

struct server;
struct control;
struct engine_msg;
struct show;

/* Begins to answer a request, any JSON value. NULL, and *error says why in a static string. */
struct show *show_begin(
	struct server *s, struct control *c, const json_t *request, const char **error);
enum show_result show_step(struct show *w, struct out *o);
uint64_t show_count(const struct show *w); /* items so far */
void show_end(struct show *w);		   /* at any time */

/* An engine has answered a list command. Frees the message if nobody waits any more. */
void show_on_list(struct server *s, struct engine_msg *m);

#endif
