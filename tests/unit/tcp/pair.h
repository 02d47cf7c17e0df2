/* Two ends that talk through a seeded link: delay, loss, duplication, reordering.
 *
 * Segments are serialised to bytes and parsed again. The clock is virtual and jumps from one
 * event to the next. Each byte of a stream is a function of its position, so that what
 * arrives can be checked anywhere. The wire is watched from outside:
 *   - the right edge that an end has put on the wire never moves left;
 *   - an end never sends past the edge it was shown, but for a probe of one byte or a FIN;
 *   - an end with something unacknowledged or unsent has a deadline.
 */
#ifndef TESTS_TCP_PAIR_H
#define TESTS_TCP_PAIR_H

#include "host.h"

#include <net/wire.h>

enum {
	PAIR_PACKETS_MAX = 4096,
	PAIR_FRAME_BYTES = 1600,
	PAIR_STEPS_MAX = 400000,
};

struct pair_link {
	unsigned int loss_percent;
	unsigned int dup_percent;
	unsigned int reorder_percent;
	uint64_t delay_us;
	uint64_t jitter_us; /* extra delay of reordered packets */
};

struct pair_packet {
	uint64_t at_us;
	uint64_t serial;
	int to;
	size_t len;
	uint8_t bytes[PAIR_FRAME_BYTES];
};

struct pair_end {
	struct host h;
	struct tcp_half half;
	bool is_conn, is_half, is_tw;
	uint64_t total_bytes; /* to send */
	uint32_t chunk_max;   /* of one send */
	bool lazy_reader;     /* reads now and then */
	bool shut;
	uint64_t checked_pos;
	bool edge_known;
	uint32_t edge_seq;	  /* right edge put on the wire */
	bool sent_syn_scale_only; /* only unscaled windows so far */
	bool done;
};

struct pair {
	struct pair_end end[2]; /* 0 opens */
	struct pair_link link;
	struct pair_packet *packets;
	unsigned int packet_n;
	uint64_t serial;
	uint64_t now_us;
	unsigned int rng;
	unsigned int drops;
};

static inline unsigned int pair_random(struct pair *p, unsigned int n)
{
	return n ? (unsigned int)rand_r(&p->rng) % n : 0;
}

static inline uint8_t pair_byte(int from, uint64_t pos)
{
	return (uint8_t)((pos * 2654435761u >> 11) + (uint64_t)from * 77);
}

static inline void pair_init(struct pair *p, unsigned int seed, struct pair_link link)
{
	memset(p, 0, sizeof(*p));
	p->packets = calloc(PAIR_PACKETS_MAX, sizeof(*p->packets));
	assert_non_null(p->packets);
	p->link = link;
	p->rng = seed;
	p->now_us = 5000 * SEC_US;
	for (int i = 0; i < 2; i++) {
		host_init(&p->end[i].h);
		p->end[i].h.now_us = p->now_us;
		p->end[i].chunk_max = 20000;
		memset(p->end[i].h.ctx.isn_key, (int)seed + i, 16);
		memset(p->end[i].h.ctx.ts_key, (int)seed + i, 16);
	}
}

static inline void pair_fini(struct pair *p)
{
	for (int i = 0; i < 2; i++)
		host_fini(&p->end[i].h);
	free(p->packets);
}

static inline void pair_enqueue(struct pair *p, int to, const uint8_t *bytes, size_t len)
{
	struct pair_packet *k;
	uint64_t extra_us = 0;

	if (pair_random(p, 100) < p->link.loss_percent || p->packet_n == PAIR_PACKETS_MAX) {
		p->drops++;
		return;
	}
	if (pair_random(p, 100) < p->link.reorder_percent)
		extra_us = pair_random(p, (unsigned int)p->link.jitter_us);
	k = &p->packets[p->packet_n++];
	k->at_us = p->now_us + p->link.delay_us + extra_us;
	k->serial = p->serial++;
	k->to = to;
	k->len = len;
	memcpy(k->bytes, bytes, len);
}

static inline void pair_watch_wire(struct pair *p, int from, const struct tcp_out *o, uint32_t len)
{
	struct pair_end *e = &p->end[from], *peer = &p->end[!from];
	uint8_t shift = o->flags & TCP_SYN || !e->is_conn ? 0 : e->h.c.rcv_wscale;
	uint32_t edge = o->ack + ((uint32_t)o->wnd << shift);
	uint32_t last = o->seq + len + !!(o->flags & TCP_FIN);

	if (o->flags & TCP_RST || !(o->flags & TCP_ACK))
		return;
	if (e->edge_known)
		assert_true(tcp_seq_geq(edge, e->edge_seq));
	e->edge_known = true;
	e->edge_seq = edge;
	if (peer->edge_known && !(o->flags & TCP_SYN))
		assert_true(tcp_seq_leq(last, peer->edge_seq + 1));
}

static inline void pair_frame(
	struct pair *p, int from, const struct tcp_out *o, uint32_t off, uint32_t len)
{
	uint8_t b[PAIR_FRAME_BYTES] = {0};
	size_t head = 20u + o->opt_len;
	bool last = off + len == o->len;
	uint8_t flags = last ? o->flags : o->flags & (uint8_t) ~(TCP_FIN | TCP_PSH);
	struct tcp_out cut = *o;

	assert_true(head + len <= sizeof(b));
	cut.seq += off;
	cut.flags = flags;
	pair_watch_wire(p, from, &cut, len);
	net_put16(b, o->key.lport);
	net_put16(b + 2, o->key.rport);
	net_put32(b + 4, cut.seq);
	net_put32(b + 8, o->ack);
	b[12] = (uint8_t)(head / 4 << 4);
	b[13] = flags;
	net_put16(b + 14, o->wnd);
	memcpy(b + 20, o->opt, o->opt_len);
	for (uint32_t i = 0; i < len; i++)
		b[head + i] = pair_byte(from, o->pos + off + i);
	pair_enqueue(p, !from, b, head + len);
	if (pair_random(p, 100) < p->link.dup_percent)
		pair_enqueue(p, !from, b, head + len);
}

static inline void pair_transmit(struct pair *p, int from, const struct tcp_out *o)
{
	uint32_t off = 0;

	if (o->len > o->mss_bytes)
		assert_true(o->mss_bytes > 0);
	do {
		uint32_t len = o->len - off;

		if (o->mss_bytes && len > o->mss_bytes)
			len = o->mss_bytes;
		pair_frame(p, from, o, off, len);
		off += len;
	} while (off < o->len);
}

static inline void pair_output(struct pair *p, int i)
{
	struct pair_end *e = &p->end[i];
	struct tcp_out out[4];
	unsigned int n;

	do {
		n = tcp_output(&e->h.ctx, &e->h.c, p->now_us, out, 4);
		for (unsigned int k = 0; k < n; k++)
			pair_transmit(p, i, &out[k]);
	} while (n == 4);
	if (e->h.c.state != TCP_CLOSED) {
		assert_false(tcp_output_due(&e->h.ctx, &e->h.c));
		if (tcp_conn_una(&e->h.c) != tcp_conn_end(&e->h.c) ||
			e->h.c.state == TCP_SYN_SENT || e->h.c.state == TCP_SYN_RECEIVED)
			assert_true(e->h.c.entry.deadline_us != TCP_NEVER);
	}
}

static inline void pair_check_received(struct pair *p, int i)
{
	struct pair_end *e = &p->end[i];

	for (; e->checked_pos < e->h.c.rcv_nxt_pos; e->checked_pos++)
		assert_int_equal(e->h.rx[e->checked_pos], pair_byte(!i, e->checked_pos));
}

/* The application: hands over more, reads, closes when it has sent all. */
static inline void pair_app(struct pair *p, int i)
{
	struct pair_end *e = &p->end[i];
	struct tcp_conn *c = &e->h.c;

	if (!e->is_conn || c->state == TCP_CLOSED)
		return;
	pair_check_received(p, i);
	if (!e->lazy_reader || pair_random(p, 8) == 0) {
		uint64_t unread = c->rcv_nxt_pos - e->h.consumed_pos;

		if (e->lazy_reader)
			unread = pair_random(p, (unsigned int)unread + 1);
		e->h.consumed_pos += unread;
		tcp_consumed(&e->h.ctx, c, p->now_us);
	}
	if (c->snd_end_pos < e->total_bytes && c->snd_end_pos < c->snd_una_pos + 100000 &&
		!tcp_conn_has(c, TCP_F_SHUT)) {
		uint64_t n = 1 + pair_random(p, e->chunk_max);

		if (n > e->total_bytes - c->snd_end_pos)
			n = e->total_bytes - c->snd_end_pos;
		tcp_send(&e->h.ctx, c, c->snd_end_pos + n, pair_random(p, 16) == 0, p->now_us);
	}
	if (!e->shut && c->snd_end_pos == e->total_bytes && c->state != TCP_SYN_SENT) {
		tcp_shutdown(&e->h.ctx, c, p->now_us);
		e->shut = true;
	}
	pair_output(p, i);
}

static inline void pair_listen_input(struct pair *p, int i, const struct tcp_segment *seg)
{
	struct pair_end *e = &p->end[i];
	struct tcp_out reply;
	uint32_t ev;

	if (!e->is_half) {
		ev = tcp_listen_input(&e->h.ctx, &e->half, seg, p->now_us, &reply);
		e->is_half = ev & TCP_EV_REPLY && (reply.flags & ~TCP_ECE) == (TCP_SYN | TCP_ACK);
	} else {
		ev = tcp_half_input(&e->h.ctx, &e->half, seg, p->now_us, &reply);
	}
	if (ev & TCP_EV_REPLY)
		pair_transmit(p, i, &reply);
	if (ev & TCP_EV_CLOSED)
		e->is_half = false;
	if (!(ev & TCP_EV_PROMOTE))
		return;
	tcp_promote(&e->h.ctx, &e->h.c, &e->half, p->now_us);
	e->is_conn = true;
	tcp_input(&e->h.ctx, &e->h.c, seg, p->now_us);
}

static inline void pair_deliver(struct pair *p, const struct pair_packet *k)
{
	struct pair_end *e = &p->end[k->to];
	struct tcp_segment seg;
	enum tcp_drop why;

	assert_int_equal(tcp_segment_parse(&seg, k->bytes, k->len, &why), 0);
	seg.key = host_key();
	if (k->to == 1) {
		seg.key.local = host_key().remote;
		seg.key.remote = host_key().local;
		seg.key.lport = host_key().rport;
		seg.key.rport = host_key().lport;
	}
	if (e->is_conn)
		e->h.events |= tcp_input(&e->h.ctx, &e->h.c, &seg, p->now_us);
	else
		pair_listen_input(p, k->to, &seg);
	if (e->is_conn) {
		pair_output(p, k->to);
		pair_app(p, k->to);
	}
}

static inline uint64_t pair_deadline(const struct pair_end *e)
{
	if (e->is_conn)
		return e->h.c.state == TCP_CLOSED ? TCP_NEVER : e->h.c.entry.deadline_us;
	return e->is_half ? e->half.entry.deadline_us : TCP_NEVER;
}

static inline void pair_timer(struct pair *p, int i)
{
	struct pair_end *e = &p->end[i];
	struct tcp_out reply;
	uint32_t ev;

	if (e->is_conn) {
		e->h.events |= tcp_timer(&e->h.ctx, &e->h.c, p->now_us);
		pair_output(p, i);
		pair_app(p, i);
		return;
	}
	ev = tcp_half_timer(&e->h.ctx, &e->half, p->now_us, &reply);
	if (ev & TCP_EV_REPLY)
		pair_transmit(p, i, &reply);
	if (ev & TCP_EV_CLOSED)
		e->is_half = false;
}

/* The next thing to happen: a delivery, a timer, or a reader that wakes. False at the end. */
static inline bool pair_step(struct pair *p)
{
	unsigned int first = 0;
	uint64_t packet_us = TCP_NEVER;
	struct pair_packet k;

	for (unsigned int i = 0; i < p->packet_n; i++) {
		const struct pair_packet *a = &p->packets[i], *b = &p->packets[first];

		if (i == 0 || a->at_us < b->at_us ||
			(a->at_us == b->at_us && a->serial < b->serial))
			first = i;
	}
	if (p->packet_n > 0)
		packet_us = p->packets[first].at_us;
	for (int i = 0; i < 2; i++) {
		uint64_t at_us = pair_deadline(&p->end[i]);

		if (at_us <= packet_us && at_us <= pair_deadline(&p->end[!i]) &&
			at_us != TCP_NEVER) {
			p->now_us = at_us > p->now_us ? at_us : p->now_us;
			pair_timer(p, i);
			return true;
		}
	}
	if (packet_us == TCP_NEVER)
		return false;
	p->now_us = packet_us;
	k = p->packets[first];
	p->packets[first] = p->packets[--p->packet_n];
	pair_deliver(p, &k);
	return true;
}

static inline void pair_connect(struct pair *p)
{
	struct net_tuple key = host_key();
	struct pair_end *e = &p->end[0];

	tcp_connect(&e->h.ctx, &e->h.c, &key, p->now_us);
	e->is_conn = true;
	pair_output(p, 0);
}

/* Both ends open towards each other. */
static inline void pair_connect_both(struct pair *p)
{
	struct net_tuple key = host_key(), back = {
						   .local = host_key().remote,
						   .remote = host_key().local,
						   .lport = host_key().rport,
						   .rport = host_key().lport,
					   };

	tcp_connect(&p->end[0].h.ctx, &p->end[0].h.c, &key, p->now_us);
	tcp_connect(&p->end[1].h.ctx, &p->end[1].h.c, &back, p->now_us);
	p->end[0].is_conn = p->end[1].is_conn = true;
	pair_output(p, 0);
	pair_output(p, 1);
}

static inline bool pair_end_done(const struct pair *p, int i)
{
	const struct pair_end *e = &p->end[i];

	return e->is_conn && e->h.c.snd_una_pos == e->total_bytes &&
	       e->h.c.rcv_nxt_pos == p->end[!i].total_bytes &&
	       tcp_conn_has(&e->h.c, TCP_F_FIN_RCVD) && tcp_conn_has(&e->h.c, TCP_F_FIN_ACKED);
}

/* Until both streams have arrived whole and both ends are in TIME-WAIT or CLOSED. */
static inline void pair_run(struct pair *p)
{
	for (unsigned int i = 0; i < PAIR_STEPS_MAX; i++) {
		if (pair_end_done(p, 0) && pair_end_done(p, 1))
			return;
		for (int k = 0; k < 2; k++)
			if (p->end[k].is_conn && p->end[k].lazy_reader)
				pair_app(p, k);
		if (!pair_step(p))
			break;
	}
	if (!pair_end_done(p, 0) || !pair_end_done(p, 1))
		fail_msg("stalled: %s %s", tcp_state_name((enum tcp_state)p->end[0].h.c.state),
			tcp_state_name((enum tcp_state)p->end[1].h.c.state));
}

#endif
