/* Making, posting and gathering messages; see msg.h. */
#include <ctl/msg.h>

#include <ctl/engine_thread.h>
#include <ctl/server_state.h>

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static size_t msg_size(enum engine_msg_type type)
{
	const size_t head = offsetof(struct engine_msg, session);

	switch (type) {
	case ENGINE_CMD_SESSION_ADD:
		return head + sizeof(struct engine_session_desc);
	case ENGINE_CMD_SEGMENT_ADD:
		return head + sizeof(struct engine_segment_desc);
	case ENGINE_CMD_LISTEN_ADD:
	case ENGINE_CMD_LISTEN_SET:
		return head + sizeof(struct engine_listen_desc);
	case ENGINE_CMD_SESSION_DEL:
	case ENGINE_CMD_LISTEN_DEL:
		return head + sizeof(((struct engine_msg *)NULL)->id);
	default:
		return sizeof(struct engine_msg);
	}
}

struct engine_msg *msg_new(enum engine_msg_type type)
{
	struct engine_msg *m = calloc(1, msg_size(type));

	if (m)
		m->type = type;
	return m;
}

void msg_post(struct server *s, uint32_t engine, struct engine_msg *m)
{
	m->engine = (uint16_t)engine;
	engine_post(s->p.engines[engine], m);
	engine_thread_wake(s->p.threads[engine]);
}

uint64_t msg_all_engines(const struct server *s)
{
	return s->p.engine_count >= 64 ? UINT64_MAX : (UINT64_C(1) << s->p.engine_count) - 1;
}

static void op_count(struct server *s, struct op *op, int result)
{
	if (result < 0 && op->result == 0)
		op->result = result;
	if (--op->wait == 0)
		op->done(s, op);
}

void op_broadcast(struct server *s, struct op *op, struct engine_msg *model, uint64_t engines)
{
	op->wait = 1;
	for (uint32_t e = 0; e < s->p.engine_count; e++) {
		struct engine_msg *m;

		if (!(engines & (UINT64_C(1) << e)))
			continue;
		m = malloc(msg_size(model->type));
		if (!m) {
			op->result = -ENOMEM;
			continue;
		}
		memcpy(m, model, msg_size(model->type));
		m->tag = op;
		op->wait++;
		msg_post(s, e, m);
	}
	free(model);
	op_count(s, op, 0);
}

void op_answer(struct server *s, struct engine_msg *m)
{
	op_count(s, m->tag, m->result);
	free(m);
}
