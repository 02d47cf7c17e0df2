/* Receiving: copy out of the chunks in `up`, tell the engine what was taken.
 *
 * The daemon's chunks form a chain by `next`. The reader keeps the chunk that it stands in; when
 * it has read everything that it was told of it lets go of it (the engine frees that chunk, so
 * that a connection at rest holds none) and goes on with the chunk named in the next event. That
 * step is taken under ev_lock, together with a last look at received_pos: either the drainer
 * comes later and notes the chunk for us, or we see its news and keep ours.
 *
 * What was taken is told when everything was read, and otherwise for each quarter of the window
 * that the peer had when the last of it came: it opens the window, and is worth a slot no more
 * often. Before a position is told the reader leaves the chunks that end there: the engine may
 * free them at once.
 *
 * Who does not block and has read everything is likely to answer, or to go and wait: each thread
 * remembers the last such socket, and what it is to tell goes with the answer, by the slot that
 * sends it, or before the thread reads from another or waits for anything. Until then it is
 * to the engine as if it were still to be read.
 *
 * The daemon is trusted: positions and references are followed, not judged, but a reference
 * outside of any segment ends the session rather than the process.
 */
#include <libclient/client.h>

#include <limits.h>
#include <string.h>

/* -- walking the chain --------------------------------------------------------------------- */

struct cursor {
	const struct proto_chunk *chunk;
	proto_ref ref; /* of it */
	uint64_t pos;
	uint64_t received; /* the snapshot that this call works on */
};

static const struct proto_chunk *chunk_at(proto_ref ref)
{
	return ref == PROTO_REF_NONE ? NULL
				     : (const struct proto_chunk *)(void *)session_at(SHM_UP, ref);
}

/* The chunk to begin with: ours, or the one that the first event after the last drop named. The
 * drainer wrote that before it told of the bytes, and does not write it again until we drop it. */
static bool first_chunk(const struct sock *s, struct cursor *c)
{
	c->ref = atomic_load_explicit(&s->ev.chunk, memory_order_relaxed);
	c->chunk = chunk_at(c->ref);
	return c->chunk;
}

static void stay_in(struct sock *s, const struct cursor *c)
{
	atomic_store_explicit(&s->ev.chunk, c->ref, memory_order_relaxed);
	s->holds_chunk = true;
}

/* Moves past chunks that end at the cursor, if there is a byte behind them. False: nonsense. */
static bool cursor_settle(struct cursor *c, uint64_t *end)
{
	for (;;) {
		const struct proto_chunk *next;
		/* pairs with the engine's release: what follows is linked before it is told */
		proto_ref ref = atomic_load_explicit(&c->chunk->next, memory_order_acquire);

		*end = c->received;
		if (ref == PROTO_REF_NONE)
			return true;
		next = chunk_at(ref);
		if (!next)
			return false;
		if (next->start_pos < *end)
			*end = next->start_pos;
		if (c->pos < *end || c->pos == c->received)
			return true;
		c->chunk = next;
		c->ref = ref;
	}
}

/* -- where to ------------------------------------------------------------------------------ */

/* A buffer, and those that come after it. */
struct sink {
	uint8_t *at;
	size_t space; /* there */
	const struct iovec *next;
	size_t left; /* in all of them */
	bool discard;
};

static void sink_copy(struct sink *to, const uint8_t *from, size_t n)
{
	to->left -= n;
	if (to->discard)
		return;
	while (n > to->space) {
		if (to->space)
			memcpy(to->at, from, to->space);
		from += to->space;
		n -= to->space;
		to->at = to->next->iov_base;
		to->space = to->next->iov_len;
		to->next++;
	}
	memcpy(to->at, from, n);
	to->at += n;
	to->space -= n;
}

/* Copies what is there, moving the cursor. */
static size_t copy_out(struct cursor *c, struct sink *to)
{
	size_t done = 0;

	while (to->left && c->pos < c->received) {
		uint64_t end;
		size_t n;

		if (!cursor_settle(c, &end) || end <= c->pos)
			break;
		n = (size_t)(end - c->pos);
		n = n < to->left ? n : to->left;
		sink_copy(to,
			(const uint8_t *)c->chunk + c->chunk->data_offset +
				(c->pos - c->chunk->start_pos),
			n);
		c->pos += n;
		done += n;
	}
	return done;
}

/* -- telling the engine -------------------------------------------------------------------- */

/* The socket that this thread has read last, if the engine is still to be told of it. The thread
 * has nothing else on its mind: what it cannot tell any more, another call on the socket does. */
static __thread struct sock *late __attribute__((tls_model("initial-exec")));

static uint64_t quarter(const struct sock *s)
{
	return atomic_load_explicit(&s->window_bytes, memory_order_relaxed) / 4;
}

/* How much of what ends at pos the engine has not been told of. */
static uint32_t untold(const struct sock *s, uint64_t pos)
{
	return (uint32_t)pos - s->consumed_low;
}

/* What does not open the window by much, together with what was told quietly before, is told
 * quietly: before the engine brings more data it is awake and sees it. A peer whose window is
 * nearly shut brings none, so not more than a part of what it was promised may stay unseen. */
static bool is_quiet(const struct sock *s, uint64_t pos)
{
	return s->quiet_bytes + untold(s, pos) < quarter(s);
}

static int tell(struct sock *s, uint64_t pos)
{
	struct proto_slot slot = {.head = proto_head_make(PROTO_OP_CONSUMED, 0)};
	bool quiet = is_quiet(s, pos);

	if (!untold(s, pos) || !s->handle.gen)
		return 0;
	s->quiet_bytes = quiet ? s->quiet_bytes + untold(s, pos) : 0;
	s->consumed_low = (uint32_t)pos;
	slot.body.consumed.handle = s->handle;
	slot.body.consumed.pos = pos;
	return quiet ? ctx_push_quiet(s->ctx, s->engine, &slot)
		     : ctx_push(s->ctx, s->engine, &slot);
}

/* Everything was read. */
static int tell_all(struct sock *s, uint64_t pos)
{
	if (!s->nonblock || !is_quiet(s, pos))
		return tell(s, pos);
	late = s;
	return 0;
}

uint64_t rx_to_tell(struct sock *s)
{
	uint64_t pos = atomic_load_explicit(&s->rcv_pos, memory_order_relaxed);

	if (s->holds_chunk || !untold(s, pos))
		return 0;
	s->consumed_low = (uint32_t)pos;
	s->quiet_bytes = 0;
	if (late == s)
		late = NULL;
	return pos;
}

void rx_tell_late(void)
{
	struct sock *s = late;

	if (!s)
		return;
	late = NULL;
	lock_take(&s->lock);
	if (s->kind == KIND_TCP && !s->holds_chunk && !sock_dead(s))
		tell(s, atomic_load_explicit(&s->rcv_pos, memory_order_relaxed));
	sock_put(s);
}

void rx_fork_child(void)
{
	late = NULL;
}

/* Lets go of the chunk if everything told of was read. */
static bool drop_chunk(struct sock *s, uint64_t pos)
{
	bool all;

	lock_take(&s->ev_lock);
	all = atomic_load_explicit(&s->ev.received_low, memory_order_relaxed) == (uint32_t)pos;
	if (all)
		atomic_store_explicit(&s->ev.chunk, PROTO_REF_NONE, memory_order_relaxed);
	lock_drop(&s->ev_lock);
	if (all)
		s->holds_chunk = false;
	return all;
}

static int consumed(struct sock *s, struct cursor *c)
{
	uint64_t end;

	atomic_store_explicit(&s->rcv_pos, c->pos, memory_order_release);
	if (c->pos == c->received && drop_chunk(s, c->pos))
		return tell_all(s, c->pos);
	stay_in(s, c);
	if (untold(s, c->pos) < quarter(s))
		return 0;
	c->received = c->pos + sock_unread(s);
	if (!cursor_settle(c, &end))
		return -ENETDOWN;
	stay_in(s, c);
	return tell(s, c->pos);
}

int rx_flush(struct sock *s)
{
	return tell(s, atomic_load(&s->rcv_pos));
}

/* -- one read ------------------------------------------------------------------------------ */

static ssize_t take(struct sock *s, struct sink *to, int flags)
{
	struct cursor c = {.pos = atomic_load(&s->rcv_pos)};
	size_t n;
	int err;

	c.received = c.pos + sock_unread(s);
	/* After GONE nothing is lent any more. */
	if (c.pos == c.received || !s->handle.gen || !to->left)
		return 0;
	n = first_chunk(s, &c) ? copy_out(&c, to) : 0;
	if (!n) {
		session_lost(); /* told of bytes that are not there */
		return -ENETDOWN;
	}
	if (flags & MSG_PEEK)
		return (ssize_t)n;
	err = consumed(s, &c);
	return err && !n ? err : (ssize_t)n;
}

/* What a read without data means: 0 is the end, -EAGAIN is nothing yet. The order is Linux's
 * (tcp_recvmsg). */
static int nothing(struct sock *s)
{
	uint32_t flags = atomic_load(&s->ev.flags);
	int err;

	if (sock_dead(s))
		return -ENETDOWN;
	if (s->state == STATE_LISTEN)
		return -ENOTCONN;
	if (s->state != STATE_NEW && flags & PROTO_FLOW_FIN)
		return 0;
	err = sock_take_error(s);
	if (err)
		return -err;
	if (s->state == STATE_NEW)
		return -ENOTCONN;
	if (flags & (PROTO_FLOW_CLOSED | PROTO_FLOW_GONE) || atomic_load(&s->shut) & SHUT_LOCAL_RD)
		return 0;
	return -EAGAIN;
}

/* MSG_PEEK with MSG_WAITALL: leaves what there is and waits until it is enough, or no more will
 * come, or may be waited for. 0, or as sock_wait(). */
static int wait_for_all(struct sock *s, size_t len, uint64_t deadline)
{
	struct waiter *w = waiter_self();
	int err = w ? 0 : -ENOMEM;

	while (!err) {
		ctx_drain(&ses.ctx[s->ctx], false);
		w->seen_low = atomic_load(&s->ev.received_low);
		if (sock_unread(s) >= len || !deadline || !sock_may_receive(s))
			break;
		err = sock_wait(s, POLLIN | WAKE_MORE, deadline);
	}
	return err;
}

/* Gives the lock back. */
static ssize_t recv_locked(struct sock *s, struct sink *to, int flags)
{
	uint64_t deadline = sock_deadline(s, flags, &sock_rare(s)->rcvtimeo);
	bool all = flags & MSG_WAITALL && !(flags & MSG_PEEK);
	ssize_t done = 0, n;
	int err = 0;

	if (flags & MSG_WAITALL && flags & MSG_PEEK)
		err = wait_for_all(s, to->left, deadline);
	if (err == -EBADF)
		return err;
	if (err && !sock_unread(s)) {
		sock_put(s);
		return err;
	}
	for (;;) {
		if (!sock_unread(s) ||
			flags & MSG_PEEK) /* who peeks may wait for more than is there */
			ctx_drain(&ses.ctx[s->ctx], false);
		n = take(s, to, flags);
		if (n > 0)
			done += n;
		if (n < 0 || !to->left || (done && !all)) {
			err = n < 0 ? (int)n : 0;
			break;
		}
		if (sock_unread(s) && s->handle.gen)
			continue; /* more came */
		err = done && atomic_load(&s->ev.error) ? 0 : nothing(s);
		if (err != -EAGAIN || !deadline)
			break;
		err = sock_wait(s, POLLIN, deadline);
		if (err == -EBADF)
			return done ? done : err;
		if (err)
			break;
	}
	sock_put(s);
	return done || !err ? done : err;
}

static ssize_t recv_sink(int sd, struct sink *to, int flags)
{
	struct sock *s;
	ssize_t n;
	int err;

	if (flags & MSG_ERRQUEUE)
		return ret_errno(-EAGAIN);
	if (flags & MSG_OOB)
		return ret_errno(-EINVAL);
	if (late && sock_idx(late) != (uint32_t)sd)
		rx_tell_late();
	err = sock_get(sd, &s);
	if (err)
		return ret_errno(err);
	n = recv_locked(s, to, flags);
	if (n >= 0)
		return n;
	errno = (int)-n;
	return -1;
}

static ssize_t recv_iov(int sd, const struct iovec *iov, size_t count, int flags)
{
	struct sink to = {.next = iov, .discard = flags & MSG_TRUNC};

	if (count > IOV_MAX)
		return ret_errno(-EMSGSIZE);
	for (size_t i = 0; i < count; i++) {
		if (iov[i].iov_len > (size_t)SSIZE_MAX - to.left)
			return ret_errno(-EINVAL);
		to.left += iov[i].iov_len;
	}
	return recv_sink(sd, &to, flags);
}

/* -- the calls ----------------------------------------------------------------------------- */

ssize_t mtcp_recv(int sd, void *buf, size_t len, int flags)
{
	struct sink to = {.at = buf, .space = len, .left = len, .discard = flags & MSG_TRUNC};

	return len > SSIZE_MAX ? ret_errno(-EINVAL) : recv_sink(sd, &to, flags);
}

ssize_t mtcp_read(int sd, void *buf, size_t len)
{
	return mtcp_recv(sd, buf, len, 0);
}

ssize_t mtcp_readv(int sd, const struct iovec *iov, int iovcnt)
{
	if (iovcnt < 0 || iovcnt > IOV_MAX)
		return ret_errno(-EINVAL);
	return recv_iov(sd, iov, (size_t)iovcnt, 0);
}

ssize_t mtcp_recvmsg(int sd, struct msghdr *msg, int flags)
{
	ssize_t n = recv_iov(sd, msg->msg_iov, msg->msg_iovlen, flags);

	if (n >= 0) {
		msg->msg_namelen = 0;
		msg->msg_controllen = 0;
		msg->msg_flags = 0;
	}
	return n;
}
