/* Asking and printing; see run.h. */
#include "run.h"

#include "conn.h"
#include "merge.h"
#include "options.h"
#include "view.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* Where items go: at once, or into the merge. */
struct printer {
	const struct options *o;
	FILE *out;
	struct merge merge;
	size_t printed;
};

static void print_json(struct printer *p, const json_t *item)
{
	fputs(p->printed ? ",\n" : "[\n", p->out);
	json_dumpf(item, p->out, JSON_COMPACT);
	p->printed++;
}

static void print_item(struct printer *p, const json_t *item)
{
	if (p->o->json) {
		print_json(p, item);
		return;
	}
	if (!p->printed++ && p->o->view->header)
		fputs(p->o->view->header, p->out);
	p->o->view->item(p->out, item, p->o);
}

static void take_item(struct printer *p, json_t *item)
{
	if (p->o->view->merge) {
		merge_add(&p->merge, item);
		return;
	}
	print_item(p, item);
	json_decref(item);
}

/* All is here: what was held back, and the end. */
static void finish(struct printer *p)
{
	const char *key;
	json_t *item;

	if (p->o->view->merge) {
		json_object_foreach(p->merge.by_key, key, item)
		{
			print_item(p, item);
		}
	}
	if (p->o->json)
		fputs(p->printed ? "\n]\n" : "[]\n", p->out);
	else if (!p->printed && p->o->view->header)
		fputs(p->o->view->header, p->out);
}

static int fail(FILE *err, const char *what)
{
	fprintf(err, "mtcpctl: %s\n", what);
	return MTCPCTL_FAILED;
}

static int receive_all(struct conn *c, struct printer *p, FILE *err)
{
	for (;;) {
		int error, r;
		json_t *obj = conn_receive(c, &error);
		const json_t *text = json_object_get(obj, "error");

		if (!obj)
			return fail(
				err, error ? strerror(-error) : "the daemon closed the connection");
		if (!text && !json_object_get(obj, "done")) {
			take_item(p, obj);
			continue;
		}
		r = text ? fail(err, json_string_value(text) ? json_string_value(text) : "error")
			 : MTCPCTL_OK;
		json_decref(obj);
		if (r == MTCPCTL_OK)
			finish(p);
		return r;
	}
}

static int ask(const struct options *o, FILE *out, FILE *err)
{
	struct printer p = {.o = o, .out = out};
	struct conn c;
	int r = conn_open(&c, o->socket);

	if (r < 0) {
		fprintf(err, "mtcpctl: cannot reach mtcpd at %s: %s\n", o->socket, strerror(-r));
		return MTCPCTL_NO_DAEMON;
	}
	merge_init(&p.merge, o->view->merge);
	r = conn_send(&c, o->request);
	r = r < 0 ? fail(err, strerror(-r)) : receive_all(&c, &p, err);
	merge_fini(&p.merge);
	conn_close(&c);
	if (fflush(out) && r == MTCPCTL_OK)
		r = fail(err, strerror(errno));
	return r;
}

int mtcpctl_run(int argc, char **argv, FILE *out, FILE *err)
{
	struct options o;
	int r = options_parse(&o, argc, argv, out, err);

	if (r < 0)
		r = ask(&o, out, err);
	json_decref(o.request);
	return r;
}
