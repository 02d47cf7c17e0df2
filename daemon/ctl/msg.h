/* Messages to engines, and operations that all engines take part in. */
#ifndef CTL_MSG_H
#define CTL_MSG_H

#include <engine/engine.h>

#include <stdint.h>

struct server;

/* A zeroed message that holds what its type needs (only lists are large), or NULL. */
struct engine_msg *msg_new(enum engine_msg_type type);

/* Posts it to an engine and wakes that. The engine hands it back through
 * server_engines_posted(). */
void msg_post(struct server *s, uint32_t engine, struct engine_msg *m);

/* An operation that waits for answers. Embedded in the caller's object. */
struct op {
	/* All engines have answered: result is 0 or the first error. Frees what holds op. */
	void (*done)(struct server *s, struct op *op);
	uint32_t wait; /* answers to come, and 1 while it is being posted */
	int result;
};

/* Posts a copy of *model (tag = op) to every engine whose bit is set in `engines`, then calls
 * done if nothing is to be waited for. Never fails: a message that cannot be made counts as an
 * answer with -ENOMEM. `model` is a message of msg_new() and is freed. */
void op_broadcast(struct server *s, struct op *op, struct engine_msg *model, uint64_t engines);

/* An answer has come. Frees the message. */
void op_answer(struct server *s, struct engine_msg *m);

/* One bit for each engine. */
uint64_t msg_all_engines(const struct server *s);

#endif
