/* Control connections; the protocol is told in control.h, the answers are made in show.c. */
#include <ctl/control.h>

#include <ctl/log.h>
#include <ctl/out.h>
#include <ctl/peer.h>
#include <ctl/server_state.h>
#include <ctl/show.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct control {
	struct control *next, **link;
	struct server *server;
	int fd;
	uint32_t uid;
	struct loop_watch watch;
	char *in; /* CONTROL_LINE_MAX bytes */
	size_t in_len;
	bool eof;
	struct out out;
	struct show *show; /* the answer being made */
	bool waiting;	   /* for an engine */
	uint64_t active_us;
};

static void close_control(struct control *c)
{
	struct server *s = c->server;

	if (c->show)
		show_end(c->show);
	loop_watch_remove(s->p.loop, &c->watch);
	close(c->fd);
	server_fds_give(s, 1);
	s->controls.count--;
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	out_free(&c->out);
	free(c->in);
	free(c);
}

static void say_error(struct control *c, const char *error)
{
	c->server->counters.control_errors++;
	out_line(&c->out, json_pack("{s:s}", "error", error));
}

static void begin(struct control *c, const char *line, size_t len)
{
	const char *error = "not a line of JSON";
	json_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);

	if (request)
		c->show = show_begin(c->server, c, request, &error);
	json_decref(request);
	if (!c->show)
		say_error(c, error);
}

/* Begins the next request that is here in full. False if there is none. */
static bool take_line(struct control *c)
{
	char *end = memchr(c->in, '\n', c->in_len);
	size_t used;

	if (!end)
		return false;
	begin(c, c->in, (size_t)(end - c->in));
	used = (size_t)(end - c->in) + 1;
	c->in_len -= used;
	memmove(c->in, c->in + used, c->in_len);
	return true;
}

/* One step of the answer. False while it waits for an engine. */
static bool step(struct control *c)
{
	enum show_result r = show_step(c->show, &c->out);

	c->waiting = r == SHOW_WAIT;
	if (r == SHOW_DONE || c->out.failed) {
		if (c->out.failed)
			say_error(c, "out of memory");
		else
			out_line(&c->out, json_pack("{s:b, s:I}", "done", 1, "count",
						  (json_int_t)show_count(c->show)));
		c->out.failed = false;
		show_end(c->show);
		c->show = NULL;
	}
	return !c->waiting;
}

/* Sends and makes answers as far as it goes without waiting. Returns the events to wait for,
 * or -1 if the connection is over. */
static int pump(struct control *c)
{
	for (unsigned int batches = 0;; batches++) {
		int r = out_flush(&c->out, c->fd);

		if (r < 0)
			return -1;
		if (r == 0 || batches == CONTROL_BATCHES_MAX)
			return EPOLLOUT;
		if (c->waiting)
			return 0;
		c->active_us = loop_now_us();
		if (c->show ? !step(c) : !take_line(c))
			break;
	}
	if (c->waiting)
		return 0;
	if (c->in_len == CONTROL_LINE_MAX) { /* and no end of line */
		say_error(c, "request too long");
		out_flush(&c->out, c->fd);
		return -1;
	}
	return c->eof ? -1 : EPOLLIN;
}

void control_resume(struct control *c)
{
	int events;

	c->waiting = false;
	events = pump(c);
	if (events < 0)
		close_control(c);
	else
		loop_watch_modify(c->server->p.loop, &c->watch, (uint32_t)events);
}

static void receive(struct control *c)
{
	ssize_t n = recv(c->fd, c->in + c->in_len, CONTROL_LINE_MAX - c->in_len, MSG_DONTWAIT);

	if (n > 0) {
		c->in_len += (size_t)n;
		c->active_us = loop_now_us();
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		c->eof = true;
	}
}

static void on_event(void *arg, uint32_t events)
{
	struct control *c = arg;

	if ((events & (EPOLLHUP | EPOLLERR)) && !(events & EPOLLIN)) {
		close_control(c);
		return;
	}
	if ((events & EPOLLIN) && !c->eof && c->in_len < CONTROL_LINE_MAX)
		receive(c);
	if (!c->waiting)
		control_resume(c);
}

static uint32_t count_uid(const struct server *s, uint32_t uid)
{
	uint32_t n = 0;

	for (const struct control *c = s->controls.first; c; c = c->next)
		n += c->uid == uid;
	return n;
}

static int admit(struct server *s, int fd)
{
	struct control *c;
	struct peer peer;
	int r = peer_get(fd, &peer);

	if (r < 0)
		return r;
	if (s->controls.count >= CONTROL_MAX || count_uid(s, peer.uid) >= CONTROL_PER_UID_MAX ||
		server_fds_take(s, 1) < 0)
		return -EAGAIN;
	r = -ENOMEM;
	c = calloc(1, sizeof(*c));
	if (!c)
		goto out_fds;
	*c = (struct control){.server = s, .fd = fd, .uid = peer.uid, .active_us = loop_now_us()};
	c->in = malloc(CONTROL_LINE_MAX);
	if (!c->in)
		goto out_free;
	r = loop_watch_add(s->p.loop, &c->watch, fd, EPOLLIN, on_event, c);
	if (r < 0)
		goto out_free;
	c->link = &s->controls.first;
	c->next = s->controls.first;
	if (c->next)
		c->next->link = &c->next;
	s->controls.first = c;
	s->controls.count++;
	s->counters.controls++;
	return 0;
out_free:
	free(c->in);
	free(c);
out_fds:
	server_fds_give(s, 1);
	return r;
}

static void on_accept(void *arg, uint32_t events)
{
	struct server *s = arg;
	int fd = accept4(s->controls.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			loop_watch_modify(s->p.loop, &s->controls.watch, 0); /* until a tick */
		return;
	}
	if (admit(s, fd) < 0) {
		s->counters.controls_refused++;
		close(fd);
	}
}

int control_start(struct server *s, int fd)
{
	s->controls.fd = fd;
	return loop_watch_add(s->p.loop, &s->controls.watch, fd, EPOLLIN, on_accept, s);
}

void control_stop_accepting(struct server *s)
{
	loop_watch_remove(s->p.loop, &s->controls.watch);
	if (s->controls.fd >= 0)
		close(s->controls.fd);
	s->controls.fd = -1;
}

void control_stop(struct server *s)
{
	control_stop_accepting(s);
	while (s->controls.first)
		close_control(s->controls.first);
}

void control_tick(struct server *s, uint64_t now_us)
{
	struct control *next;

	if (s->controls.watch.active)
		loop_watch_modify(s->p.loop, &s->controls.watch, EPOLLIN);
	for (struct control *c = s->controls.first; c; c = next) {
		next = c->next;
		if (now_us - c->active_us < CONTROL_IDLE_US || now_us < c->active_us)
			continue;
		s->counters.controls_stalled++;
		close_control(c);
	}
}
