/* Messages between the main thread and the engine: liburcu's wait-free queues, one a way. */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>

enum {
	COMMANDS_PER_TURN = 16,
};

static struct engine_msg *dequeue(struct cds_wfcq_head *head, struct cds_wfcq_tail *tail)
{
	struct cds_wfcq_node *node = queue_take(head, tail);

	if (!node)
		return NULL;
	return (struct engine_msg *)(void *)((uint8_t *)node - offsetof(struct engine_msg, node));
}

static void enqueue(struct cds_wfcq_head *head, struct cds_wfcq_tail *tail, struct engine_msg *m)
{
	cds_wfcq_node_init(&m->node);
	cds_wfcq_enqueue(head, tail, &m->node);
}

void engine_post(struct engine *e, struct engine_msg *m)
{
	m->engine = e->cfg.id;
	enqueue(&e->inbox.head, &e->inbox.tail, m);
}

struct engine_msg *engine_take(struct engine *e)
{
	return dequeue(&e->outbox.head, &e->outbox.tail);
}

bool engine_posted(struct engine *e)
{
	bool posted = e->posted;

	e->posted = false;
	return posted;
}

bool command_empty(struct engine *e)
{
	return cds_wfcq_empty(&e->inbox.head, &e->inbox.tail);
}

static void reply(struct engine *e, struct engine_msg *m)
{
	e->posted = true;
	enqueue(&e->outbox.head, &e->outbox.tail, m);
}

/* A note of the engine's own. Lost only when memory is, and then a dead session's memory stays
 * until the daemon ends. */
void command_note(struct engine *e, enum engine_msg_type type, uint32_t session, uint32_t value)
{
	struct engine_msg *m = calloc(1, sizeof(*m));

	if (!m)
		return;
	m->type = type;
	m->engine = e->cfg.id;
	m->free_after = true;
	m->id.session = session;
	m->id.value = value;
	reply(e, m);
}

static void execute(struct engine *e, struct engine_msg *m)
{
	m->result = 0;
	switch (m->type) {
	case ENGINE_CMD_SESSION_ADD:
		m->result = session_add(e, &m->session);
		break;
	case ENGINE_CMD_SESSION_DEL:
		session_del(e, m->id.session);
		break;
	case ENGINE_CMD_SEGMENT_ADD:
		m->result = session_segment(e, &m->segment);
		break;
	case ENGINE_CMD_LISTEN_ADD:
		m->result = listener_add(e, &m->listen);
		break;
	case ENGINE_CMD_LISTEN_SET:
		m->result = listener_set(e, &m->listen);
		break;
	case ENGINE_CMD_LISTEN_DEL:
		listener_del(e, m->id.handle);
		break;
	case ENGINE_CMD_LIST_FLOWS:
		list_flows(e, m);
		break;
	case ENGINE_CMD_LIST_LISTENERS:
		list_listeners(e, m);
		break;
	case ENGINE_CMD_LIST_SESSIONS:
		list_sessions(e, m);
		break;
	case ENGINE_CMD_DRAIN:
		flow_drain(e, false);
		break;
	case ENGINE_CMD_ABORT:
		flow_drain(e, true);
		break;
	default:
		m->result = -EINVAL;
		break;
	}
}

/* Executes what the main thread has posted, a bounded number; returns how many. */
unsigned int command_run(struct engine *e)
{
	unsigned int n = 0;
	struct engine_msg *m;

	while (n < COMMANDS_PER_TURN && (m = dequeue(&e->inbox.head, &e->inbox.tail))) {
		execute(e, m);
		reply(e, m);
		n++;
	}
	return n;
}

/* At the end: notes that nobody took, and commands that were not executed, which nobody will
 * ask for any more. Commands in the outbox belong to the sender. */
void command_fini(struct engine *e)
{
	struct engine_msg *m;

	while ((m = dequeue(&e->inbox.head, &e->inbox.tail)))
		free(m);
	while ((m = dequeue(&e->outbox.head, &e->outbox.tail)))
		if (m->free_after)
			free(m);
}
