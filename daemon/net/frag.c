#include <net/frag.h>

#include <net/checksum.h>
#include <net/wire.h>

#include <string.h>

enum {
	PAYLOAD_MAX = 65535,
	HEADERS = NET_ETH_HLEN + NET_IP6_HLEN, /* room in front of the payload */
	BUFFER_BYTES =
		(HEADERS + PAYLOAD_MAX + NET_FRAG_ALIGN - 1) / NET_FRAG_ALIGN * NET_FRAG_ALIGN,
	TCP_HEADER_MIN = 20,
	ICMP_HEADER_MIN = 8,
	TCP_FLAGS_OFFSET = 8, /* a fragment from here on would bring the flags on its own */

	ECN_MASK = 3,
	ECN_NOT_ECT = 0,
	ECN_CE = 3,
};

/* What one fragment covers of the payload. */
struct piece {
	uint16_t start, end;
};

struct datagram {
	uint64_t deadline_us; /* 0: the slot is free */
	struct net_addr src, dst;
	uint32_t id;
	uint8_t proto; /* of IPv4, where it is part of the name; else 0 */
	bool given_up; /* only its name is kept */
	bool has_first;
	uint8_t ecn_seen;     /* bit n: codepoint n */
	uint16_t count;	      /* of pieces */
	uint32_t have_bytes;  /* the sum of them */
	uint32_t payload_max; /* of a packet of this family */
	uint32_t total_bytes; /* of the payload; 0: the last fragment is yet to come */
	struct piece piece[NET_FRAG_PIECES_MAX]; /* ascending */
};

struct net_frag_table {
	struct net_counters *counters;
	uint32_t used;
	struct datagram slot[NET_FRAG_DATAGRAMS_MAX];
};

/* A fragment of either family. */
struct fragment {
	const struct net_packet *packet;
	struct net_addr src, dst;
	uint32_t id;
	uint32_t offset, len_bytes;
	uint32_t payload_max;
	uint32_t timeout_us;
	const uint8_t *data;
	uint8_t name_proto; /* see struct datagram */
	uint8_t proto;
	uint8_t ecn;
	bool more;
	bool ip6;
};

static size_t table_bytes(void)
{
	return (sizeof(struct net_frag_table) + NET_FRAG_ALIGN - 1) / NET_FRAG_ALIGN *
	       NET_FRAG_ALIGN;
}

size_t net_frag_size(void)
{
	return table_bytes() + (size_t)NET_FRAG_DATAGRAMS_MAX * BUFFER_BYTES;
}

struct net_frag_table *net_frag_init(void *mem, struct net_counters *counters)
{
	struct net_frag_table *t = mem;

	t->counters = counters;
	return t;
}

static uint8_t *payload_of(struct net_frag_table *t, const struct datagram *d)
{
	return (uint8_t *)t + table_bytes() + (size_t)(d - t->slot) * BUFFER_BYTES + HEADERS;
}

/* -- slots ------------------------------------------------------------------------------------- */

static bool is_of(const struct datagram *d, const struct fragment *f)
{
	return d->deadline_us && d->id == f->id && d->proto == f->name_proto &&
	       net_addr_equal(&d->src, &f->src) && net_addr_equal(&d->dst, &f->dst);
}

/* An IPv6 host may use its whole /64. */
static bool same_source(const struct net_addr *a, const struct net_addr *b)
{
	return memcmp(a->b, b->b, net_addr_is_ip4(a) ? sizeof(a->b) : 8) == 0;
}

static void release(struct net_frag_table *t, struct datagram *d)
{
	d->deadline_us = 0;
	t->used--;
}

static const struct datagram *older(const struct datagram *a, const struct datagram *b)
{
	return !a || b->deadline_us < a->deadline_us ? b : a;
}

/* A free slot; the oldest gives way, of the source if that has its share, else of all. */
static struct datagram *take_slot(struct net_frag_table *t, const struct fragment *f)
{
	const struct datagram *oldest = NULL, *oldest_of_source = NULL;
	struct datagram *unused = NULL;
	unsigned int of_source = 0;

	for (unsigned int i = 0; i < NET_FRAG_DATAGRAMS_MAX; i++) {
		struct datagram *d = &t->slot[i];

		if (!d->deadline_us) {
			unused = d;
			continue;
		}
		oldest = older(oldest, d);
		if (!same_source(&d->src, &f->src))
			continue;
		oldest_of_source = older(oldest_of_source, d);
		of_source++;
	}
	if (of_source >= NET_FRAG_PER_SOURCE_MAX) {
		t->counters->frag_source_full++;
		unused = &t->slot[oldest_of_source - t->slot];
		release(t, unused);
	} else if (!unused) {
		t->counters->frag_full++;
		unused = &t->slot[oldest - t->slot];
		release(t, unused);
	}
	t->used++;
	return unused;
}

static struct datagram *find(struct net_frag_table *t, const struct fragment *f, uint64_t now_us)
{
	struct datagram *d;

	for (unsigned int i = 0; t->used && i < NET_FRAG_DATAGRAMS_MAX; i++)
		if (is_of(&t->slot[i], f))
			return &t->slot[i];
	d = take_slot(t, f);
	*d = (struct datagram){
		.deadline_us = now_us + f->timeout_us,
		.src = f->src,
		.dst = f->dst,
		.id = f->id,
		.proto = f->name_proto,
		.payload_max = f->payload_max,
	};
	return d;
}

/* -- one fragment ------------------------------------------------------------------------------ */

/* How much the first fragment must hold. */
static uint32_t header_bytes(const struct fragment *f)
{
	uint32_t said;

	if (f->proto != NET_PROTO_TCP)
		return ICMP_HEADER_MIN;
	if (f->len_bytes < TCP_HEADER_MIN)
		return TCP_HEADER_MIN;
	said = (uint32_t)(f->data[12] >> 4) * 4;
	return said < TCP_HEADER_MIN ? TCP_HEADER_MIN : said;
}

/* What a fragment says of itself. */
static enum net_drop check_fragment(const struct fragment *f)
{

	if (f->len_bytes == 0 || (f->more && f->len_bytes % 8 != 0))
		return NET_DROP_frag_bad;
	if (f->offset + f->len_bytes > f->payload_max)
		return NET_DROP_frag_too_big;
	if (f->offset == 0 && f->ip6 && f->proto != NET_PROTO_TCP && f->proto != NET_PROTO_ICMP6)
		return NET_DROP_ip6_unknown_proto;
	if (f->offset == 0 && f->len_bytes < header_bytes(f))
		return NET_DROP_frag_tiny;
	if (f->offset == TCP_FLAGS_OFFSET && f->proto == NET_PROTO_TCP)
		return NET_DROP_frag_tiny;
	return NET_DROP_NONE;
}

/* Where the payload ends: every fragment must agree. */
static bool agrees_on_end(struct datagram *d, const struct fragment *f)
{
	uint32_t end = f->offset + f->len_bytes;

	if (f->more)
		return !d->total_bytes || end < d->total_bytes;
	if (d->total_bytes)
		return end == d->total_bytes;
	if (d->count && d->piece[d->count - 1].end > end)
		return false;
	d->total_bytes = end;
	return true;
}

/* The number of pieces that begin before the fragment. */
static unsigned int place_of(const struct datagram *d, const struct fragment *f)
{
	unsigned int at = d->count;

	while (at > 0 && d->piece[at - 1].start >= f->offset)
		at--;
	return at;
}

static bool is_repeated(struct net_frag_table *t, const struct datagram *d, unsigned int at,
	const struct fragment *f)
{
	return at < d->count && d->piece[at].start == f->offset &&
	       d->piece[at].end == f->offset + f->len_bytes &&
	       memcmp(payload_of(t, d) + f->offset, f->data, f->len_bytes) == 0;
}

static bool overlaps(const struct datagram *d, unsigned int at, const struct fragment *f)
{
	return (at > 0 && d->piece[at - 1].end > f->offset) ||
	       (at < d->count && d->piece[at].start < f->offset + f->len_bytes);
}

/* The packet is no more, nor will it be. */
static enum net_drop give_up(struct datagram *d, enum net_drop why)
{
	d->given_up = true;
	return why;
}

/* The headers of the whole are those of the first fragment. */
static void keep_headers(uint8_t *payload, const struct fragment *f)
{
	uint16_t ip_len = f->ip6 ? NET_IP6_HLEN : NET_IP4_HLEN;
	uint8_t *ip = payload - ip_len;

	memcpy(ip, f->packet->l3, ip_len);
	net_eth_build(ip - NET_ETH_HLEN, &f->packet->dst, &f->packet->src,
		f->ip6 ? NET_ETHERTYPE_IP6 : NET_ETHERTYPE_IP4);
	if (f->ip6)
		ip[6] = f->proto; /* what stood between has been checked and is left out */
	else
		ip[0] = 4 << 4 | NET_IP4_HLEN / 4; /* the same with options */
}

static enum net_drop add(struct net_frag_table *t, struct datagram *d, const struct fragment *f)
{
	unsigned int at = place_of(d, f);

	if (d->given_up)
		return NET_DROP_frag_late;
	if (is_repeated(t, d, at, f))
		return NET_DROP_frag_duplicate;
	if (overlaps(d, at, f) || !agrees_on_end(d, f))
		return give_up(d, NET_DROP_frag_overlap);
	if (d->count == NET_FRAG_PIECES_MAX)
		return give_up(d, NET_DROP_frag_many);
	memmove(&d->piece[at + 1], &d->piece[at], (d->count - at) * sizeof(d->piece[0]));
	d->piece[at] = (struct piece){(uint16_t)f->offset, (uint16_t)(f->offset + f->len_bytes)};
	d->count++;
	d->have_bytes += f->len_bytes;
	d->ecn_seen |= (uint8_t)(1 << f->ecn);
	memcpy(payload_of(t, d) + f->offset, f->data, f->len_bytes);
	if (f->offset == 0) {
		keep_headers(payload_of(t, d), f);
		d->has_first = true;
	}
	return NET_DROP_NONE;
}

/* -- the whole --------------------------------------------------------------------------------- */

/* RFC 3168 section 5.3: a mark on one fragment is a mark on the packet, unless another says that
 * its ends know nothing of marks. */
static bool ecn_contradicts(const struct datagram *d)
{
	return (d->ecn_seen & 1 << ECN_CE) && (d->ecn_seen & 1 << ECN_NOT_ECT);
}

static void finish4(uint8_t *ip, const struct datagram *d)
{
	uint16_t check;

	net_put16(ip + 2, (uint16_t)(NET_IP4_HLEN + d->total_bytes));
	net_put16(ip + 6, 0);
	net_put16(ip + 10, 0);
	if (d->ecn_seen & 1 << ECN_CE)
		ip[1] |= ECN_CE;
	check = net_checksum_fold(net_checksum_add_ip4(0, ip));
	memcpy(ip + 10, &check, sizeof(check));
}

static void finish6(uint8_t *ip, const struct datagram *d)
{
	net_put16(ip + 4, (uint16_t)d->total_bytes);
	if (d->ecn_seen & 1 << ECN_CE)
		ip[1] |= ECN_CE << 4;
}

static enum net_drop finish(
	struct net_frag_table *t, struct datagram *d, bool ip6, struct net_frag_whole *whole)
{
	uint16_t ip_len = ip6 ? NET_IP6_HLEN : NET_IP4_HLEN;
	uint8_t *ip = payload_of(t, d) - ip_len;

	release(t, d);
	if (ecn_contradicts(d))
		return NET_DROP_frag_ecn;
	if (ip6)
		finish6(ip, d);
	else
		finish4(ip, d);
	whole->frame = ip - NET_ETH_HLEN;
	whole->len_bytes = NET_ETH_HLEN + ip_len + d->total_bytes;
	t->counters->frag_reassembled++;
	return NET_DROP_NONE;
}

static enum net_drop input(struct net_frag_table *t, const struct fragment *f, uint64_t now_us,
	struct net_frag_whole *whole)
{
	enum net_drop why = check_fragment(f);
	struct datagram *d;

	*whole = (struct net_frag_whole){0};
	if (why != NET_DROP_NONE)
		return why;
	d = find(t, f, now_us);
	why = add(t, d, f);
	if (why != NET_DROP_NONE || !d->has_first || d->have_bytes != d->total_bytes)
		return why;
	return finish(t, d, f->ip6, whole);
}

enum net_drop net_frag_input4(struct net_frag_table *t, const struct net_packet *p,
	const struct net_ip4 *ip, uint64_t now_us, struct net_frag_whole *whole)
{
	struct fragment f = {
		.packet = p,
		.src = net_addr_from_ip4(ip->src_be),
		.dst = net_addr_from_ip4(ip->dst_be),
		.id = ip->id,
		.offset = ip->frag_offset,
		.len_bytes = ip->l4_len_bytes,
		.payload_max = PAYLOAD_MAX - NET_IP4_HLEN,
		.timeout_us = NET_FRAG_TIMEOUT4_US,
		.data = ip->l4,
		.name_proto = ip->proto,
		.proto = ip->proto,
		.ecn = ip->tos & ECN_MASK,
		.more = ip->frag_more,
	};

	return input(t, &f, now_us, whole);
}

enum net_drop net_frag_input6(struct net_frag_table *t, const struct net_packet *p,
	const struct net_ip6 *ip, uint64_t now_us, struct net_frag_whole *whole)
{
	struct fragment f = {
		.packet = p,
		.src = ip->src,
		.dst = ip->dst,
		.id = ip->frag_id,
		.offset = ip->frag_offset,
		.len_bytes = ip->l4_len_bytes,
		.payload_max = PAYLOAD_MAX,
		.timeout_us = NET_FRAG_TIMEOUT6_US,
		.data = ip->l4,
		.proto = ip->proto,
		.ecn = ip->tclass & ECN_MASK,
		.more = ip->frag_more,
		.ip6 = true,
	};

	return input(t, &f, now_us, whole);
}

/* -- time -------------------------------------------------------------------------------------- */

/* The fragment's header says what it did when it came: of IPv4 its lengths, for there may have been
 * options. */
static void restore_header4(uint8_t *ip, uint32_t data_bytes)
{
	uint16_t check;

	net_put16(ip + 2, (uint16_t)(NET_IP4_HLEN + data_bytes));
	net_put16(ip + 10, 0);
	check = net_checksum_fold(net_checksum_add_ip4(0, ip));
	memcpy(ip + 10, &check, sizeof(check));
}

static void tell_first(
	struct net_frag_table *t, const struct datagram *d, struct net_frag_first *first)
{
	bool ip4 = net_addr_is_ip4(&d->src);
	uint8_t *ip = payload_of(t, d) - (ip4 ? NET_IP4_HLEN : NET_IP6_HLEN);

	*first = (struct net_frag_first){ip - NET_ETH_HLEN, d->piece[0].end, d->id};
	if (ip4)
		restore_header4(ip, first->data_bytes);
}

bool net_frag_expire(struct net_frag_table *t, uint64_t now_us, struct net_frag_first *first)
{
	for (unsigned int i = 0; t->used && i < NET_FRAG_DATAGRAMS_MAX; i++) {
		struct datagram *d = &t->slot[i];

		if (!d->deadline_us || d->deadline_us > now_us)
			continue;
		release(t, d);
		if (d->given_up)
			continue;
		t->counters->frag_timeout++;
		if (!d->has_first)
			continue;
		tell_first(t, d, first);
		return true;
	}
	return false;
}

bool net_frag_waits(const struct net_frag_table *t)
{
	return t->used > 0;
}
