/* Accepting, and judging first messages; see attach.h. */
#include <ctl/attach.h>

#include <ctl/join.h>
#include <ctl/log.h>
#include <ctl/peer.h>
#include <ctl/server_state.h>
#include <proto/attach.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct attach_pending {
	struct attach_pending *next, **link;
	struct server *server;
	int fd;
	struct peer peer;
	struct loop_watch watch;
	struct loop_timer deadline;
};

/* Best effort: whoever refused does not wait for the client. */
static void answer_error(int fd, uint32_t request_id, int error)
{
	struct proto_msg_header h = {.magic = PROTO_MAGIC,
		.version = PROTO_VERSION,
		.type = PROTO_MSG_ATTACH,
		.request_id = request_id,
		.result = error};

	(void)!send(fd, &h, sizeof(h), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Forgets the connection; its descriptor is closed unless a session has taken it. */
static void forget(struct attach_pending *p, bool taken)
{
	struct server *s = p->server;

	loop_watch_remove(s->p.loop, &p->watch);
	loop_timer_cancel(s->p.loop, &p->deadline);
	if (!taken)
		close(p->fd);
	server_fds_give(s, 1);
	uid_pending_end(s->uids, p->peer.uid);
	s->attach.pending_count--;
	*p->link = p->next;
	if (p->next)
		p->next->link = p->link;
	free(p);
}

static void on_deadline(void *arg, uint64_t now_us)
{
	struct attach_pending *p = arg;

	(void)now_us;
	p->server->counters.attach_timeouts++;
	forget(p, false);
}

static void malformed(struct attach_pending *p)
{
	p->server->counters.attach_malformed++;
	log_warning("pid %d (uid %u) sent a malformed attach message", p->peer.pid, p->peer.uid);
	answer_error(p->fd, 0, -EPROTO);
	forget(p, false);
}

static void judge(struct attach_pending *p, const union proto_msg *m)
{
	struct server *s = p->server;
	int r = uid_rate_take(s->uids, p->peer.uid, loop_now_us());

	if (r < 0) {
		s->counters.attach_refused_rate++;
	} else {
		/* the session watches the same descriptor */
		loop_watch_remove(s->p.loop, &p->watch);
		r = join_begin(s, p->fd, &p->peer, &m->attach);
	}
	if (r < 0) {
		log_warning("attach of %s[%d] (uid %u) refused: %s", m->attach.name, p->peer.pid,
			p->peer.uid, strerror(-r));
		answer_error(p->fd, m->h.request_id, r);
	}
	forget(p, r == 0);
}

static void on_message(void *arg, uint32_t events)
{
	struct attach_pending *p = arg;
	union proto_msg m;
	/* MSG_TRUNC: the length as it was sent, though only this much is taken. */
	ssize_t n = recv(p->fd, &m, sizeof(m), MSG_DONTWAIT | MSG_TRUNC);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		forget(p, false);
	else if ((size_t)n > sizeof(m) || proto_msg_request_check(&m, (size_t)n) ||
		 m.h.type != PROTO_MSG_ATTACH)
		malformed(p);
	else
		judge(p, &m);
}

/* Takes the connection in, or says why not. */
static int admit(struct server *s, int fd)
{
	uint64_t now_us = loop_now_us();
	struct attach_pending *p;
	struct peer peer;
	int r = peer_get(fd, &peer);

	if (r < 0)
		return r;
	if (s->attach.pending_count >= ATTACH_PENDING_MAX || server_fds_take(s, 1) < 0)
		return -EAGAIN;
	r = uid_pending_begin(s->uids, peer.uid, now_us);
	if (r < 0)
		goto out_fds;
	r = -ENOMEM;
	p = calloc(1, sizeof(*p));
	if (!p)
		goto out_uid;
	*p = (struct attach_pending){.server = s, .fd = fd, .peer = peer};
	r = loop_watch_add(s->p.loop, &p->watch, fd, EPOLLIN, on_message, p);
	if (r < 0)
		goto out_free;
	loop_timer_set(s->p.loop, &p->deadline, now_us + ATTACH_DEADLINE_US, on_deadline, p);
	p->link = &s->attach.pending;
	p->next = s->attach.pending;
	if (p->next)
		p->next->link = &p->next;
	s->attach.pending = p;
	s->attach.pending_count++;
	return 0;
out_free:
	free(p);
out_uid:
	uid_pending_end(s->uids, peer.uid);
out_fds:
	server_fds_give(s, 1);
	return r;
}

static void on_accept(void *arg, uint32_t events);

static void on_pause_over(void *arg, uint64_t now_us)
{
	struct server *s = arg;

	(void)now_us;
	loop_watch_modify(s->p.loop, &s->attach.watch, EPOLLIN);
}

/* Out of descriptors: a connection that cannot be accepted would wake us for ever. */
static void pause_accepting(struct server *s)
{
	s->counters.accept_paused++;
	loop_watch_modify(s->p.loop, &s->attach.watch, 0);
	loop_timer_set(
		s->p.loop, &s->attach.pause, loop_now_us() + ATTACH_PAUSE_US, on_pause_over, s);
}

static void on_accept(void *arg, uint32_t events)
{
	struct server *s = arg;

	(void)events;
	for (unsigned int i = 0; i < ATTACH_ACCEPTS_MAX; i++) {
		int fd = accept4(s->attach.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		int r;

		if (fd < 0) {
			if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
				pause_accepting(s);
			return;
		}
		r = admit(s, fd);
		if (r < 0) {
			s->counters.attach_refused_pending++;
			answer_error(fd, 0, r);
			close(fd);
		}
	}
}

int attach_start(struct server *s, int fd)
{
	s->attach.fd = fd;
	return loop_watch_add(s->p.loop, &s->attach.watch, fd, EPOLLIN, on_accept, s);
}

void attach_stop(struct server *s)
{
	loop_watch_remove(s->p.loop, &s->attach.watch);
	loop_timer_cancel(s->p.loop, &s->attach.pause);
	if (s->attach.fd >= 0)
		close(s->attach.fd);
	s->attach.fd = -1;
	while (s->attach.pending)
		forget(s->attach.pending, false);
}
