/* A path for one sender: a bottleneck with a buffer, a round trip, losses at will. The peer
 * acknowledges each segment that arrives in order, and repeats its ACK for others. */
#ifndef TESTS_TCP_PATH_H
#define TESTS_TCP_PATH_H

#include "host.h"

enum {
	PATH_PACKETS_MAX = 8192,
	PATH_MSS = 1460,
};

struct path {
	struct host *h;
	uint64_t rate; /* bytes a second */
	uint64_t rtt_us;
	uint64_t buffer_bytes;
	uint32_t loss_ppm;
	unsigned int rng;
	/* the bottleneck and what is on its way back */
	uint64_t free_us;
	uint64_t ack_at_us[PATH_PACKETS_MAX];
	uint64_t ack_pos[PATH_PACKETS_MAX];
	uint32_t first, count;
	/* the receiver */
	uint64_t got_pos;
	uint8_t got[1 << 16]; /* segments out of order, by number modulo its size */
	/* seen */
	uint64_t sent_bytes, dropped, delivered_bytes;
	uint64_t queue_max_us;
	uint32_t burst_max; /* segments in one moment */
};

static inline void path_enqueue(struct path *p, const struct tcp_out *o)
{
	uint64_t now = p->h->now_us;
	uint64_t start = p->free_us > now ? p->free_us : now;
	uint32_t i = (p->first + p->count) % PATH_PACKETS_MAX;

	p->sent_bytes += o->len;
	if ((start - now) * p->rate / 1000000 > p->buffer_bytes ||
		(p->loss_ppm && (uint32_t)rand_r(&p->rng) % 1000000 < p->loss_ppm)) {
		p->dropped++;
		return;
	}
	if (start - now > p->queue_max_us)
		p->queue_max_us = start - now;
	p->free_us = start + (uint64_t)o->len * 1000000 / p->rate;
	assert_true(p->count < PATH_PACKETS_MAX);
	p->ack_at_us[i] = p->free_us + p->rtt_us;
	p->ack_pos[i] = o->pos;
	p->count++;
}

static inline void path_output(struct path *p)
{
	uint32_t burst = 0;

	do {
		p->h->out_n =
			tcp_output(&p->h->ctx, &p->h->c, p->h->now_us, p->h->out, HOST_OUT_MAX);
		for (unsigned int i = 0; i < p->h->out_n; i++)
			if (p->h->out[i].len > 0) {
				path_enqueue(p, &p->h->out[i]);
				burst++;
			}
	} while (tcp_output_due(&p->h->ctx, &p->h->c));
	if (burst > p->burst_max)
		p->burst_max = burst;
}

static inline void path_ack(struct path *p)
{
	uint64_t pos = p->ack_pos[p->first];

	p->first = (p->first + 1) % PATH_PACKETS_MAX;
	p->count--;
	p->delivered_bytes += PATH_MSS;
	p->got[pos / PATH_MSS % sizeof(p->got)] = 1;
	while (p->got[p->got_pos / PATH_MSS % sizeof(p->got)]) {
		p->got[p->got_pos / PATH_MSS % sizeof(p->got)] = 0;
		p->got_pos += PATH_MSS;
	}
	if (pos < p->got_pos)
		p->got[pos / PATH_MSS % sizeof(p->got)] = 0;
	host_input(p->h, TCP_ACK, 1, 1 + (uint32_t)p->got_pos, 65535, 0);
}

/* A bulk sender for so long; whole segments only. */
static inline void path_run(struct path *p, uint64_t for_us)
{
	uint64_t until_us = p->h->now_us + for_us;

	for (;;) {
		uint64_t ack_us = p->count ? p->ack_at_us[p->first] : TCP_NEVER;
		uint64_t timer_us = p->h->c.entry.deadline_us;
		uint64_t next_us = ack_us < timer_us ? ack_us : timer_us;

		if (p->h->c.snd_end_pos < p->h->c.snd_una_pos + (16 << 20))
			host_send(p->h, 1000 * PATH_MSS);
		path_output(p);
		if (p->count && p->ack_at_us[p->first] < next_us)
			next_us = p->ack_at_us[p->first];
		if (p->h->c.entry.deadline_us < next_us)
			next_us = p->h->c.entry.deadline_us;
		if (next_us >= until_us)
			break;
		if (next_us > p->h->now_us)
			p->h->now_us = next_us;
		if (p->count && p->ack_at_us[p->first] <= p->h->now_us)
			path_ack(p);
		else
			host_note(p->h, tcp_timer(&p->h->ctx, &p->h->c, p->h->now_us));
	}
	p->h->now_us = until_us;
}

#endif
