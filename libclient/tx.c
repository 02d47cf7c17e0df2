/* Sending: copy into `down`, tell the engine where, free what the peer has.
 *
 * A socket's blocks are a list in stream order. A write fills the open block (the last) first,
 * so that small writes end up side by side and the engine sees one range. Each piece is told
 * with its absolute position. What lies between acked_pos and snd_pos never exceeds what the
 * engine said it takes (sndbuf_bytes): past it the daemon would end the session.
 *
 *	first   -> [acked....] [acked|sent] [sent|    ] <- tx_last, open; its next is the first
 *	               freed       ^acked_pos    ^snd_pos
 */
#include <libclient/client.h>

#include <limits.h>
#include <signal.h>
#include <string.h>

/* Only the holder of the socket's lock changes it; others read it. */
static void blocks_add(struct sock *s, int n)
{
	uint32_t blocks = atomic_load_explicit(&s->tx_blocks, memory_order_relaxed);

	atomic_store_explicit(&s->tx_blocks, blocks + (uint32_t)n, memory_order_relaxed);
}

/* -- blocks -------------------------------------------------------------------------------- */

static void free_first(struct sock *s)
{
	struct tx_block *b = s->tx_last->next;

	if (b == s->tx_last)
		s->tx_last = NULL;
	else
		s->tx_last->next = b->next;
	blocks_add(s, -1);
	pool_free(b);
}

/* Frees blocks that are acknowledged to their end; the open one too, so that a connection at
 * rest holds none. */
void tx_reap(struct sock *s)
{
	uint32_t acked_low = atomic_load(&s->ev.acked_low);

	while (s->tx_last) {
		const struct tx_block *b = s->tx_last->next;

		if ((int32_t)(b->start_low + b->used - acked_low) > 0)
			return;
		free_first(s);
	}
}

/* Everything: the daemon does not look at it any more. */
void tx_drop(struct sock *s)
{
	if (s->is_listener)
		return;
	while (s->tx_last)
		free_first(s);
}

static struct tx_block *open_block(struct sock *s, size_t want_bytes)
{
	struct tx_block *b = s->tx_last;

	if (b && b->used < b->cap)
		return b;
	if (atomic_load(&s->tx_blocks) >= TX_BLOCKS_MAX)
		return NULL;
	b = pool_alloc(s, want_bytes);
	if (!b) {
		pool_wait(s);
		return NULL;
	}
	b->start_low = (uint32_t)atomic_load(&s->snd_pos);
	b->next = s->tx_last ? s->tx_last->next : b;
	if (s->tx_last)
		s->tx_last->next = b;
	s->tx_last = b;
	blocks_add(s, 1);
	return b;
}

/* -- one write ----------------------------------------------------------------------------- */

/* A buffer, and those that come after it. */
struct source {
	const uint8_t *at;
	size_t here;
	const struct iovec *next;
	size_t left; /* in all of them */
};

static void source_copy(struct source *src, uint8_t *to, size_t n)
{
	src->left -= n;
	while (n > src->here) {
		if (src->here)
			memcpy(to, src->at, src->here);
		to += src->here;
		n -= src->here;
		src->at = src->next->iov_base;
		src->here = src->next->iov_len;
		src->next++;
	}
	memcpy(to, src->at, n);
	src->at += n;
	src->here -= n;
}

static size_t room(struct sock *s)
{
	uint32_t used = sock_unacked(s);
	uint32_t buf = atomic_load(&s->ev.sndbuf_bytes);

	return used < buf ? buf - used : 0;
}

/* Sends one contiguous piece. Its length; 0: no room; -ENETDOWN. */
static ssize_t send_piece(struct sock *s, struct source *src, bool more)
{
	size_t n = room(s);
	struct tx_block *b;
	struct proto_slot slot = {.head = proto_head_make(PROTO_OP_SEND, 0)};
	int err;

	n = n < src->left ? n : src->left;
	b = n ? open_block(s, n) : NULL;
	if (!b)
		return 0;
	n = n < b->cap - b->used ? n : b->cap - b->used;
	source_copy(src, b->mem + b->used, n);
	slot.body.send = (struct proto_send){
		.handle = s->handle,
		.pos = atomic_load(&s->snd_pos),
		.ref = b->ref + b->used,
		.len_bytes = (uint32_t)n,
		.flags = more ? PROTO_SEND_MORE : 0,
		.consumed_pos = rx_to_tell(s),
	};
	b->used += (uint32_t)n;
	atomic_store_explicit(&s->snd_pos, slot.body.send.pos + n, memory_order_relaxed);
	err = ctx_push(s->ctx, s->engine, &slot);
	return err ? err : (ssize_t)n;
}

/* As much as there is room for. Leaves `nospace` set if that was not all. */
static ssize_t send_some(struct sock *s, struct source *src, bool more)
{
	ssize_t done = 0, n;

	tx_reap(s);
	for (;;) {
		n = src->left ? send_piece(s, src, more) : 0;
		if (n < 0)
			return done ? done : n;
		done += n;
		if (!src->left)
			return done;
		if (n)
			continue;
		/* Full: ask for a wake, then look once more (pairs with event.c). */
		ctx_drain(&ses.ctx[s->ctx], false);
		tx_reap(s);
		atomic_store(&s->nospace, true);
		if (!room(s) || atomic_load(&s->pool_wait) ||
			atomic_load(&s->tx_blocks) >= TX_BLOCKS_MAX)
			return done;
	}
}

/* Whether writing is possible in this state: 0, -EPIPE, the socket's error, -EAGAIN (not yet). */
static int check(struct sock *s)
{
	int err;

	if (s->state == STATE_CONNECTED && !atomic_load(&s->shut) && !atomic_load(&s->ev.error) &&
		!(atomic_load(&s->ev.flags) & (PROTO_FLOW_CLOSED | PROTO_FLOW_GONE)) &&
		!sock_dead(s))
		return 0; /* as nearly always */
	if (sock_dead(s))
		return -ENETDOWN;
	err = sock_take_error(s);
	if (err)
		return -err;
	if (s->state == STATE_NEW || s->state == STATE_LISTEN)
		return -EPIPE;
	if (atomic_load(&s->shut) & SHUT_LOCAL_WR ||
		atomic_load(&s->ev.flags) & (PROTO_FLOW_CLOSED | PROTO_FLOW_GONE))
		return -EPIPE;
	return sock_connecting(s) ? -EAGAIN : 0;
}

/* Gives the lock back. */
static ssize_t send_locked(struct sock *s, struct source *src, int flags)
{
	uint64_t deadline = sock_deadline(s, flags, &sock_rare(s)->sndtimeo);
	ssize_t done = 0, n;
	int err;

	/* Who only writes must hear of a reset all the same, not go on until the buffer is full. */
	if (ctx_has_news(&ses.ctx[s->ctx], s->engine))
		ctx_drain(&ses.ctx[s->ctx], false);
	for (;;) {
		err = check(s);
		n = err ? err : send_some(s, src, flags & MSG_MORE);
		if (n < 0)
			err = (int)n;
		else
			done += n;
		if (!src->left || (err && err != -EAGAIN))
			break;
		err = deadline ? sock_wait(s, POLLOUT, deadline) : -EAGAIN;
		if (err == -EBADF)
			return done ? done : err;
		if (err)
			break;
	}
	sock_put(s);
	return done || !err ? done : err;
}

static ssize_t send_source(int sd, struct source *src, int flags)
{
	struct sock *s;
	ssize_t n;
	int err;

	if (flags & (MSG_OOB | MSG_FASTOPEN))
		return ret_errno(-EOPNOTSUPP);
	err = sock_get(sd, &s);
	if (err)
		return ret_errno(err);
	n = send_locked(s, src, flags);
	if (n >= 0)
		return n;
	if (n == -EPIPE && !(flags & MSG_NOSIGNAL))
		raise(SIGPIPE);
	errno = (int)-n;
	return -1;
}

static ssize_t send_iov(int sd, const struct iovec *iov, size_t count, int flags)
{
	struct source src = {.next = iov};

	if (count > IOV_MAX)
		return ret_errno(-EMSGSIZE);
	for (size_t i = 0; i < count; i++) {
		if (iov[i].iov_len > (size_t)SSIZE_MAX - src.left)
			return ret_errno(-EINVAL);
		src.left += iov[i].iov_len;
	}
	return send_source(sd, &src, flags);
}

int tx_shutdown(struct sock *s)
{
	struct proto_slot slot = {.head = proto_head_make(PROTO_OP_SHUTDOWN, 0)};

	if (!s->handle.gen)
		return 0;
	slot.body.shutdown.handle = s->handle;
	slot.body.shutdown.pos = atomic_load(&s->snd_pos);
	return ctx_push(s->ctx, s->engine, &slot);
}

size_t mtcpi_send_space(int sd)
{
	struct sock *s;
	size_t n = 0;

	if (sock_get(sd, &s))
		return 0;
	if (!check(s)) {
		tx_reap(s);
		n = atomic_load(&s->pool_wait) ? 0 : room(s);
	}
	sock_put(s);
	return n;
}

/* -- the calls ----------------------------------------------------------------------------- */

ssize_t mtcp_send(int sd, const void *buf, size_t len, int flags)
{
	struct source src = {.at = buf, .here = len, .left = len};

	return len > SSIZE_MAX ? ret_errno(-EINVAL) : send_source(sd, &src, flags);
}

ssize_t mtcp_write(int sd, const void *buf, size_t len)
{
	return mtcp_send(sd, buf, len, 0);
}

ssize_t mtcp_writev(int sd, const struct iovec *iov, int iovcnt)
{
	if (iovcnt < 0 || iovcnt > IOV_MAX)
		return ret_errno(-EINVAL);
	return send_iov(sd, iov, (size_t)iovcnt, 0);
}

/* MSG_FASTOPEN: the address is where to connect. */
static int send_connect(int sd, const struct msghdr *msg)
{
	uint8_t addr[16];
	uint16_t port;
	struct sock *s;
	int err = sock_get(sd, &s);

	if (err)
		return err;
	err = addr_from_sockaddr(s->ip6, msg->msg_name, msg->msg_namelen, addr, &port);
	if (!err)
		err = s->state == STATE_CONNECTING ? -EALREADY : connect_fast(s, addr, port);
	sock_put(s);
	return err;
}

ssize_t mtcp_sendmsg(int sd, const struct msghdr *msg, int flags)
{
	int err;

	if (flags & MSG_FASTOPEN && msg->msg_name) {
		err = send_connect(sd, msg);
		if (err)
			return ret_errno(err);
		flags &= ~MSG_FASTOPEN;
	}
	return send_iov(sd, msg->msg_iov, msg->msg_iovlen, flags);
}
