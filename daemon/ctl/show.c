/* Requests and their stepping; the commands themselves are in show_flow.c and show_table.c. */
#include <ctl/show.h>

#include <ctl/msg.h>
#include <ctl/server_state.h>
#include <ctl/show_state.h>

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

struct show_cmd {
	const char *name;
	show_step_fn step;
	bool filtered; /* takes the keys of show_filter_parse() */
};

static const struct show_cmd commands[] = {
	{"flow", show_flow, true},
	{"listen", show_listen, false},
	{"client", show_client, false},
	{"engine", show_engine, false},
	{"port", show_port, false},
	{"neigh", show_neigh, false},
	{"counters", show_counters, false},
	{"agent", show_agent, false},
	{"version", show_version, false},
};

static const struct show_cmd *command_find(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

struct show *show_begin(
	struct server *s, struct control *c, const json_t *request, const char **error)
{
	const json_t *cmd = json_object_get(request, "cmd");
	struct show *w;

	*error = "a request is an object with \"cmd\"";
	if (!json_is_string(cmd))
		return NULL;
	w = calloc(1, sizeof(*w));
	*error = "out of memory";
	if (!w)
		return NULL;
	*w = (struct show){.s = s, .c = c, .count_max = UINT64_MAX};
	w->cmd = command_find(json_string_value(cmd));
	if (!w->cmd)
		*error = "unknown command";
	else if (w->cmd->filtered)
		*error = show_filter_parse(w, request);
	else
		*error = json_object_size(request) == 1 ? NULL : "unknown key";
	if (*error) {
		free(w);
		return NULL;
	}
	return w;
}

enum show_result show_step(struct show *w, struct out *o)
{
	return w->cmd->step(w, o);
}

uint64_t show_count(const struct show *w)
{
	return w->count;
}

void show_end(struct show *w)
{
	if (w->asked) {
		w->c = NULL;
		return;
	}
	free(w->msg);
	free(w);
}

void show_on_list(struct server *s, struct engine_msg *m)
{
	struct show *w = m->tag;

	(void)s;
	w->asked = false;
	w->answered = true;
	if (w->c)
		control_resume(w->c);
	else
		show_end(w);
}

void show_item(struct show *w, struct out *o, json_t *obj)
{
	w->count++;
	out_line(o, obj);
}

static void ask(struct show *w, enum engine_msg_type type)
{
	w->msg->type = type;
	w->msg->tag = w;
	w->msg->list.cursor = w->cursor;
	w->msg->list.count = 0;
	w->asked = true;
	msg_post(w->s, w->engine, w->msg);
}

static void take_answer(struct show *w, struct out *o, show_emit_fn emit)
{
	w->answered = false;
	for (uint32_t i = 0; i < w->msg->list.count && w->count < w->count_max; i++)
		emit(w, o, w->msg, i);
	w->cursor = w->msg->list.cursor;
	if (w->cursor == UINT64_MAX) {
		w->cursor = 0;
		w->engine++;
	}
}

enum show_result show_from_engines(
	struct show *w, struct out *o, enum engine_msg_type type, show_emit_fn emit)
{
	if (w->answered) {
		take_answer(w, o, emit);
		return SHOW_MORE;
	}
	if (w->engine >= w->s->p.engine_count || w->count >= w->count_max)
		return SHOW_DONE;
	if (!w->msg)
		w->msg = msg_new(type);
	if (!w->msg) {
		o->failed = true;
		return SHOW_DONE;
	}
	ask(w, type);
	return SHOW_WAIT;
}

json_t *show_addr(const struct net_addr *a)
{
	char text[INET6_ADDRSTRLEN];

	if (net_addr_is_any(a))
		return json_string("*");
	if (net_addr_is_ip4(a))
		inet_ntop(AF_INET, a->b + 12, text, sizeof(text));
	else
		inet_ntop(AF_INET6, a->b, text, sizeof(text));
	return json_string(text);
}
