/* Cookies, the client's cache, and the two ways into a connection; see fastopen.h. */
#include <tcp/fastopen.h>

#include <tcp/cc.h>
#include <tcp/internal.h>
#include <tcp/siphash.h>

/* -- server --------------------------------------------------------------------------------- */

static uint64_t hash_addrs(const uint8_t key[16], const struct net_tuple *t)
{
	struct net_addr in[2] = {t->remote, t->local};

	return tcp_siphash24(key, in, sizeof(in));
}

static void make_cookie(const struct tcp_ctx *ctx, const struct net_tuple *t, uint64_t epoch,
	uint8_t cookie[TCP_FASTOPEN_COOKIE_BYTES])
{
	uint8_t key[16];
	uint64_t hash;

	tcp_siphash_key(ctx->fastopen_key, epoch, key);
	hash = hash_addrs(key, t);
	memcpy(cookie, &hash, TCP_FASTOPEN_COOKIE_BYTES);
}

static uint64_t epoch_of(uint64_t now_us)
{
	return now_us >> TCP_FASTOPEN_KEY_US_LOG2;
}

void tcp_fastopen_make(const struct tcp_ctx *ctx, const struct net_tuple *key, uint64_t now_us,
	uint8_t cookie[TCP_FASTOPEN_COOKIE_BYTES])
{
	make_cookie(ctx, key, epoch_of(now_us), cookie);
}

/* Section 4.1.2. All bytes are looked at, so that the time taken tells nothing. */
static bool is_cookie(const struct tcp_ctx *ctx, const struct tcp_segment *syn, uint64_t epoch)
{
	uint8_t cookie[TCP_FASTOPEN_COOKIE_BYTES], differ = 0;

	make_cookie(ctx, &syn->key, epoch, cookie);
	for (int i = 0; i < TCP_FASTOPEN_COOKIE_BYTES; i++)
		differ |= cookie[i] ^ syn->opt.fastopen[i];
	return !differ;
}

bool tcp_fastopen_valid(const struct tcp_ctx *ctx, const struct tcp_segment *syn, uint64_t now_us)
{
	uint64_t epoch = epoch_of(now_us);

	if (!syn->opt.has_fastopen || syn->opt.fastopen_len != TCP_FASTOPEN_COOKIE_BYTES)
		return false;
	return is_cookie(ctx, syn, epoch) || (epoch && is_cookie(ctx, syn, epoch - 1));
}

void tcp_fastopen_offer(
	struct tcp_ctx *ctx, struct tcp_half *h, uint64_t now_us, struct tcp_out *reply)
{
	h->flags |= TCP_HALF_FASTOPEN;
	ctx->counters->fastopen_cookies_sent++;
	tcp_half_synack(ctx, h, now_us, reply);
}

void tcp_fastopen_accept(
	struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_segment *syn, uint64_t now_us)
{
	struct tcp_half h = {0};

	tcp_half_init(ctx, &h, syn, tcp_isn(ctx, &syn->key, now_us), now_us);
	tcp_promote(ctx, c, &h, now_us);
	c->flags |= TCP_F_FASTOPEN;
	c->owe |= TCP_OWE_SYN;
	/* Section 4.2.2 step 6; congestion control begins when the handshake has ended. */
	c->cwnd = tcp_cc_initial_window(c);
	c->ssthresh = TCP_CWND_MAX_BYTES;
}

/* The FIN is left to be sent again, and what finds no room. */
uint32_t tcp_fastopen_text(
	struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_segment *syn, uint64_t now_us)
{
	struct tcp_segment text = *syn;
	struct tcp_rx rx = {.ctx = ctx, .c = c, .seg = &text, .now_us = now_us, .text = true};

	text.seq++;
	text.flags = TCP_ACK;
	ctx->counters->segs_in++;
	c->segs_in++;
	tcp_data_seg_in(ctx, c);
	tcp_process_text(&rx);
	if (rx.events & TCP_EV_RECEIVED) {
		ctx->counters->fastopen_accepted++;
		c->loss |= TCP_L_SYN_DATA;
	}
	return rx.events | tcp_conn_settle(ctx, c, now_us);
}

/* -- the client's cache ----------------------------------------------------------------------- */

static uint32_t seconds(uint64_t now_us)
{
	return (uint32_t)(now_us / 1000000);
}

static struct tcp_fastopen_peer *bucket_of(const struct tcp_ctx *ctx, const struct net_tuple *key)
{
	uint64_t hash = hash_addrs(ctx->fastopen_key, key);

	return ctx->fastopen->peer[hash % TCP_FASTOPEN_BUCKETS];
}

static struct tcp_fastopen_peer *find(const struct tcp_ctx *ctx, const struct net_tuple *key)
{
	struct tcp_fastopen_peer *bucket = ctx->fastopen ? bucket_of(ctx, key) : NULL;

	for (int i = 0; bucket && i < TCP_FASTOPEN_WAYS; i++)
		if (net_addr_equal(&bucket[i].remote, &key->remote) &&
			net_addr_equal(&bucket[i].local, &key->local))
			return &bucket[i];
	return NULL;
}

/* The place of that pair of addresses, made if need be. */
static struct tcp_fastopen_peer *place(
	const struct tcp_ctx *ctx, const struct net_tuple *key, uint64_t now_us)
{
	struct tcp_fastopen_peer *p = find(ctx, key), *bucket;

	if (!p) {
		bucket = p = bucket_of(ctx, key);
		for (int i = 1; i < TCP_FASTOPEN_WAYS; i++)
			if (bucket[i].used_s < p->used_s)
				p = &bucket[i];
		*p = (struct tcp_fastopen_peer){.local = key->local, .remote = key->remote};
	}
	p->used_s = seconds(now_us);
	return p;
}

static bool is_blocked(const struct tcp_fastopen_peer *p, uint64_t now_us)
{
	return seconds(now_us) < p->blocked_until_s;
}

static bool has_cookie(const struct tcp_fastopen_peer *p)
{
	return p && p->cookie_len > 0;
}

/* -- client --------------------------------------------------------------------------------- */

/* Why the SYN did not bring its data; Linux's enum tcp_fastopen_client_fail. */
enum fail {
	FAIL_NO_COOKIE = 1,
	FAIL_DATA_NOT_ACKED = 2,
	FAIL_SYN_REPEATED = 3,
};

static void note_fail(struct tcp_conn *c, enum fail why)
{
	c->loss |= (uint16_t)(why << TCP_L_FASTOPEN_FAIL_SHIFT);
}

uint32_t tcp_fastopen_connect(struct tcp_ctx *ctx, struct tcp_conn *c, uint64_t now_us)
{
	const struct tcp_fastopen_peer *p = find(ctx, &c->entry.key);

	assert(c->state == TCP_SYN_SENT && (c->owe & TCP_OWE_SYN));
	if (!ctx->fastopen || !(ctx->cfg->fastopen & TCP_FASTOPEN_CLIENT))
		return tcp_conn_settle(ctx, c, now_us);
	if (p && is_blocked(p, now_us)) {
		ctx->counters->fastopen_blocked++;
		return tcp_conn_settle(ctx, c, now_us);
	}
	c->flags |= TCP_F_FASTOPEN;
	if (has_cookie(p)) {
		c->owe &= (uint16_t)~TCP_OWE_SYN;
		c->send_at = tcp_timer_in(now_us, TCP_FASTOPEN_HOLD_US);
	} else {
		note_fail(c, FAIL_NO_COOKIE);
	}
	return tcp_conn_settle(ctx, c, now_us);
}

static void synack_option(const struct tcp_ctx *ctx, const struct tcp_conn *c, uint64_t now_us,
	struct tcp_options *opt)
{
	opt->has_fastopen = true;
	opt->fastopen_len = TCP_FASTOPEN_COOKIE_BYTES;
	tcp_fastopen_make(ctx, &c->entry.key, now_us, opt->fastopen);
}

static void syn_option(const struct tcp_ctx *ctx, const struct tcp_conn *c, struct tcp_options *opt)
{
	const struct tcp_fastopen_peer *p = find(ctx, &c->entry.key);

	opt->has_fastopen = true;
	opt->fastopen_len = has_cookie(p) ? p->cookie_len : 0;
	if (has_cookie(p))
		memcpy(opt->fastopen, p->cookie, p->cookie_len);
}

void tcp_fastopen_option(const struct tcp_ctx *ctx, const struct tcp_conn *c, uint64_t now_us,
	struct tcp_options *opt)
{
	if (!tcp_conn_has(c, TCP_F_FASTOPEN) || c->backoff > 0)
		return;
	if (c->state == TCP_SYN_RECEIVED)
		synack_option(ctx, c, now_us, opt);
	else if (c->state == TCP_SYN_SENT)
		syn_option(ctx, c, opt);
}

/* Section 4.2.1: no more than the MSS that was learned with the cookie. */
uint32_t tcp_fastopen_syn_room(
	const struct tcp_ctx *ctx, const struct tcp_conn *c, uint32_t opt_len, uint64_t now_us)
{
	struct tcp_fastopen_peer *p;
	uint16_t maxseg = tcp_extra(ctx, c)->maxseg;
	uint32_t mss;

	if (!tcp_conn_has(c, TCP_F_FASTOPEN) || c->backoff > 0)
		return 0;
	p = find(ctx, &c->entry.key);
	if (!has_cookie(p))
		return 0;
	p->used_s = seconds(now_us);
	mss = maxseg && maxseg < p->mss_bytes ? maxseg : p->mss_bytes;
	return mss > opt_len ? mss - opt_len : 0;
}

static void learn(struct tcp_ctx *ctx, const struct tcp_conn *c, const struct tcp_options *opt,
	uint64_t now_us)
{
	struct tcp_fastopen_peer *p = place(ctx, &c->entry.key, now_us);

	memcpy(p->cookie, opt->fastopen, opt->fastopen_len);
	p->cookie_len = opt->fastopen_len;
	p->mss_bytes = tcp_options_peer_mss(ctx->cfg, &c->entry.key.remote, opt);
	p->drops = 0;
	p->blocked_until_s = 0;
	ctx->counters->fastopen_cookies_learned++;
}

/* Section 4.1.3.1: the plain SYN arrived where the other did not. */
static void note_drop(struct tcp_ctx *ctx, const struct tcp_conn *c, uint64_t now_us)
{
	struct tcp_fastopen_peer *p = place(ctx, &c->entry.key, now_us);
	uint32_t block_s = TCP_FASTOPEN_BLOCK_MAX_S;

	if (p->drops < 6)
		block_s = (uint32_t)TCP_FASTOPEN_BLOCK_S << p->drops++;
	if (block_s > TCP_FASTOPEN_BLOCK_MAX_S)
		block_s = TCP_FASTOPEN_BLOCK_MAX_S;
	p->blocked_until_s = seconds(now_us) + block_s;
	ctx->counters->fastopen_syn_lost++;
}

void tcp_fastopen_synack(
	struct tcp_ctx *ctx, struct tcp_conn *c, const struct tcp_segment *seg, uint64_t now_us)
{
	struct tcp_fastopen_peer *p;

	if (!tcp_conn_has(c, TCP_F_FASTOPEN))
		return;
	if (seg->opt.has_fastopen && seg->opt.fastopen_len > 0) {
		learn(ctx, c, &seg->opt, now_us);
	} else if (c->backoff > 0) {
		note_drop(ctx, c, now_us);
	} else {
		p = find(ctx, &c->entry.key);
		if (p)
			p->drops = 0;
	}
	if (tcp_conn_snd_max(c) == 0)
		return;
	if (seg->ack - (c->iss + 1) == tcp_conn_snd_max(c))
		c->loss |= TCP_L_SYN_DATA;
	else
		note_fail(c, c->backoff > 0 ? FAIL_SYN_REPEATED : FAIL_DATA_NOT_ACKED);
	if (seg->ack == c->iss + 1)
		ctx->counters->fastopen_data_refused++;
	else
		ctx->counters->fastopen_data_taken++;
}
