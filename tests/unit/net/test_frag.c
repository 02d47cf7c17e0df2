/* Fragments: whatever order they come in, and whatever they lie. */
#include "frames.h"

#include <net/checksum.h>
#include <net/frag.h>
#include <net/icmp.h>
#include <net/icmp6.h>

enum {
	MAX = 65535,
	MS = 1000,
};

struct fixture {
	struct net_iface iface;
	struct net_counters counters;
	struct net_frag_table *table;
	uint8_t payload[MAX];
	uint64_t now_us;
	/* of the next fragment */
	uint8_t source, proto, tos;
	uint32_t id;
	bool ip6;
	struct net_frag_whole whole;
};

static struct fixture f;

static int setup(void **state)
{
	size_t size = (net_frag_size() + NET_FRAG_ALIGN - 1) / NET_FRAG_ALIGN * NET_FRAG_ALIGN;
	void *mem = aligned_alloc(NET_FRAG_ALIGN, size);
	uint64_t x = 1;

	(void)state;
	assert_non_null(mem);
	memset(mem, 0, size);
	memset(&f, 0, sizeof(f));
	f.iface = test_iface6();
	f.table = net_frag_init(mem, &f.counters);
	f.now_us = 1000 * MS;
	f.source = 2;
	f.proto = NET_PROTO_TCP;
	f.id = 7;
	for (size_t i = 0; i < sizeof(f.payload); i++)
		f.payload[i] = (uint8_t)next_random(&x);
	f.payload[12] = 5 << 4; /* the length of a TCP header */
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(f.table);
	return 0;
}

static enum net_drop receive4(uint32_t off, uint32_t len, bool more)
{
	uint8_t *frame = malloc(NET_ETH_HLEN + NET_IP4_HLEN + MAX);
	size_t at = put_ip4(frame, f.proto, len);
	uint8_t *ip = frame + NET_ETH_HLEN, *copy;
	struct net_packet p;
	struct net_ip4 view;
	enum net_drop why;

	ip[1] = f.tos;
	net_put16(ip + 4, f.id);
	net_put16(ip + 6, (more ? 0x2000u : 0) | off / 8);
	ip[15] = f.source;
	fix_ip4(ip);
	memcpy(frame + at, f.payload + off % (MAX - len + 1), len);
	copy = exact(frame, at + len);
	free(frame);
	assert_int_equal(net_packet_parse(&p, copy, at + len, &f.iface, 0), NET_DROP_NONE);
	assert_int_equal(net_ip4_parse(&view, &p, &f.iface), NET_DROP_ip4_fragment);
	why = net_frag_input4(f.table, &p, &view, f.now_us, &f.whole);
	free(copy);
	return why;
}

static enum net_drop receive6(uint32_t off, uint32_t len, bool more)
{
	uint8_t *frame = malloc(NET_ETH_HLEN + NET_IP6_HLEN + 8 + MAX);
	struct net_addr source = peer_ip6;
	struct net_packet p;
	struct net_ip6 view;
	enum net_drop why;
	uint8_t *copy;
	size_t at;

	source.b[15] = f.source;
	at = put_ip6(frame, &source, &our_ip6, NET_PROTO_FRAGMENT, 8 + len);
	frame[NET_ETH_HLEN] |= f.tos >> 4;
	frame[NET_ETH_HLEN + 1] = (uint8_t)(f.tos << 4);
	frame[at] = f.proto;
	frame[at + 1] = 0;
	net_put16(frame + at + 2, off | more);
	net_put16(frame + at + 4, f.id >> 16);
	net_put16(frame + at + 6, f.id);
	memcpy(frame + at + 8, f.payload + off, len);
	copy = exact(frame, at + 8 + len);
	free(frame);
	assert_int_equal(net_packet_parse(&p, copy, at + 8 + len, &f.iface, 0), NET_DROP_NONE);
	assert_int_equal(net_ip6_parse(&view, &p, &f.iface), NET_DROP_ip6_fragment);
	why = net_frag_input6(f.table, &p, &view, f.now_us, &f.whole);
	free(copy);
	return why;
}

static enum net_drop receive(uint32_t off, uint32_t len, bool more)
{
	return f.ip6 ? receive6(off, len, more) : receive4(off, len, more);
}

/* The whole parses as what was fragmented. */
static void assert_whole(uint32_t len)
{
	uint32_t l4_len;
	const uint8_t *l4;
	struct net_packet p;
	struct net_ip4 ip4_view;
	struct net_ip6 ip6_view;

	assert_non_null(f.whole.frame);
	assert_int_equal(
		net_packet_parse(&p, f.whole.frame, f.whole.len_bytes, &f.iface, 0), NET_DROP_NONE);
	if (f.ip6) {
		assert_int_equal(net_ip6_parse(&ip6_view, &p, &f.iface), NET_DROP_NONE);
		l4 = ip6_view.l4;
		l4_len = ip6_view.l4_len_bytes;
		assert_int_equal(ip6_view.proto, f.proto);
	} else {
		assert_int_equal(net_ip4_parse(&ip4_view, &p, &f.iface), NET_DROP_NONE);
		l4 = ip4_view.l4;
		l4_len = ip4_view.l4_len_bytes;
		assert_int_equal(ip4_view.proto, f.proto);
	}
	assert_int_equal(l4_len, len);
	assert_memory_equal(l4, f.payload, len);
	assert_false(net_frag_waits(f.table));
}

static void assert_waits(enum net_drop why)
{
	assert_int_equal(why, NET_DROP_NONE);
	assert_null(f.whole.frame);
	assert_true(net_frag_waits(f.table));
}

/* -- what is to be put together ------------------------------------------------------------------
 */

static void put_in_order(void)
{
	assert_waits(receive(0, 1480, true));
	assert_waits(receive(1480, 1480, true));
	assert_int_equal(receive(2960, 41, false), NET_DROP_NONE);
	assert_whole(3001);
	assert_int_equal(f.counters.frag_reassembled, 1);
}

static void test_frag_given_order_makes_the_whole(void **state)
{
	(void)state;
	put_in_order();
	f.ip6 = true;
	f.id = 0x12345678;
	assert_waits(receive(0, 1448, true));
	assert_int_equal(receive(1448, 5, false), NET_DROP_NONE);
	assert_whole(1453);
}

static void test_frag_given_any_order_makes_the_whole(void **state)
{
	uint64_t x = 99;

	(void)state;
	for (unsigned int round = 0; round < 200; round++) {
		uint32_t piece = 8 * (1 + (uint32_t)(next_random(&x) % 180)), n = 2 + round % 40;
		uint32_t order[64], last = 1 + (uint32_t)(next_random(&x) % piece);

		f.ip6 = round & 1;
		f.id = round;
		if (piece < 24)
			piece = 24; /* the first holds a TCP header */
		for (uint32_t i = 0; i < n; i++)
			order[i] = i;
		for (uint32_t i = n; i-- > 1;) {
			uint32_t j = (uint32_t)(next_random(&x) % (i + 1)), t = order[i];

			order[i] = order[j];
			order[j] = t;
		}
		for (uint32_t i = 0; i < n; i++) {
			bool more = order[i] + 1 < n;
			enum net_drop why = receive(order[i] * piece, more ? piece : last, more);

			if (i + 1 < n)
				assert_waits(why);
		}
		assert_whole((n - 1) * piece + last);
	}
}

static void test_frag_given_names_that_differ_keeps_them_apart(void **state)
{
	(void)state;
	assert_waits(receive(0, 800, true));
	f.id++;
	assert_waits(receive(800, 8, false));
	f.id--;
	f.source++;
	assert_waits(receive(800, 8, false));
	f.source--;
	f.proto = NET_PROTO_ICMP;
	assert_waits(receive(800, 8, false));
	f.proto = NET_PROTO_TCP;
	assert_int_equal(receive(800, 8, false), NET_DROP_NONE);
	assert_non_null(f.whole.frame);
}

static void test_frag_given_longest_packet_takes_it(void **state)
{
	(void)state;
	for (uint32_t off = 0; off < 64000; off += 1000)
		assert_waits(receive(off, 1000, true));
	assert_int_equal(receive(64000, MAX - 20 - 64000, false), NET_DROP_NONE);
	assert_whole(MAX - 20);
}

static void test_frag_given_repetition_ignores_it(void **state)
{
	(void)state;
	assert_waits(receive(0, 800, true));
	assert_int_equal(receive(0, 800, true), NET_DROP_frag_duplicate);
	assert_waits(receive(1600, 8, false));
	assert_int_equal(receive(1600, 8, false), NET_DROP_frag_duplicate);
	assert_int_equal(receive(800, 800, true), NET_DROP_NONE);
	assert_whole(1608);
}

/* RFC 6980: ND believes nothing that came in fragments, and so must be able to tell. */
static void test_frag_given_whole_says_that_it_was_fragmented(void **state)
{
	struct net_packet p;
	struct net_ip6 view;

	(void)state;
	f.ip6 = true;
	f.proto = NET_PROTO_ICMP6;
	assert_waits(receive(0, 800, true));
	assert_int_equal(receive(800, 8, false), NET_DROP_NONE);
	assert_int_equal(net_packet_parse(&p, f.whole.frame, f.whole.len_bytes, &f.iface,
				 NET_RX_REASSEMBLED),
		NET_DROP_NONE);
	assert_int_equal(net_ip6_parse(&view, &p, &f.iface), NET_DROP_NONE);
	assert_true(view.fragmented);
}

/* -- what is not --------------------------------------------------------------------------------
 */

/* RFC 5722: of neither family, and not with what comes later either. */
static void assert_overlap_ends_it(uint32_t off, uint32_t len, bool more)
{
	f.id++;
	assert_waits(receive(0, 800, true));
	assert_waits(receive(1600, 800, true));
	assert_int_equal(receive(off, len, more), NET_DROP_frag_overlap);
	assert_int_equal(receive(800, 800, true), NET_DROP_frag_late);
	assert_int_equal(receive(2400, 8, false), NET_DROP_frag_late);
	assert_null(f.whole.frame);
}

static void test_frag_given_overlap_drops_all_of_it(void **state)
{
	(void)state;
	for (int family = 0; family < 2; family++) {
		f.ip6 = family;
		assert_overlap_ends_it(792, 16, true);	 /* over an end */
		assert_overlap_ends_it(1592, 16, true);	 /* over a start */
		assert_overlap_ends_it(8 * 20, 8, true); /* inside */
		assert_overlap_ends_it(800, 2400, true); /* around */
		assert_overlap_ends_it(0, 792, true);	 /* shorter */
	}
}

static void test_frag_given_repetition_with_other_bytes_drops_all_of_it(void **state)
{
	(void)state;
	assert_waits(receive(0, 800, true));
	assert_waits(receive(800, 800, true));
	f.payload[900] ^= 1;
	assert_int_equal(receive(800, 800, true), NET_DROP_frag_overlap);
	assert_int_equal(receive(1600, 8, false), NET_DROP_frag_late);
}

static void test_frag_given_two_ends_drops_all_of_it(void **state)
{
	(void)state;
	assert_waits(receive(1600, 8, false));
	assert_int_equal(receive(2400, 8, false), NET_DROP_frag_overlap);
	f.id++;
	assert_waits(receive(1600, 8, false)); /* more, behind the end */
	assert_int_equal(receive(1608, 800, true), NET_DROP_frag_overlap);
	f.id++;
	assert_waits(receive(1600, 800, true)); /* an end before what is there */
	assert_int_equal(receive(800, 8, false), NET_DROP_frag_overlap);
}

static void test_frag_given_lengths_no_fragment_has_drops(void **state)
{
	(void)state;
	assert_int_equal(receive(0, 801, true), NET_DROP_frag_bad);
	assert_int_equal(receive(800, 0, false), NET_DROP_frag_bad);
	assert_int_equal(receive(800, 0, true), NET_DROP_frag_bad);
	f.ip6 = true;
	assert_int_equal(receive(0, 801, true), NET_DROP_frag_bad);
	assert_false(net_frag_waits(f.table));
}

/* The "ping of death": past the longest packet. */
static void test_frag_given_end_past_the_longest_packet_drops(void **state)
{
	(void)state;
	f.proto = NET_PROTO_ICMP;
	assert_int_equal(receive(65528, 8, false), NET_DROP_frag_too_big);
	assert_int_equal(receive(65504, 12, false), NET_DROP_frag_too_big);
	assert_waits(receive(65504, 11, false));
	f.ip6 = true;
	f.proto = NET_PROTO_ICMP6;
	assert_waits(receive(65528, 7, false));
	assert_int_equal(receive(65528, 7, true), NET_DROP_frag_bad);
}

/* RFC 1858, RFC 7112: what a filter looks at lies in the first fragment. */
static void test_frag_given_header_in_two_drops(void **state)
{
	(void)state;
	assert_int_equal(receive(0, 16, true), NET_DROP_frag_tiny);
	assert_int_equal(receive(8, 800, true), NET_DROP_frag_tiny);
	f.payload[12] = 15 << 4;
	assert_int_equal(receive(0, 56, true), NET_DROP_frag_tiny);
	assert_waits(receive(0, 64, true));
	f.ip6 = true;
	assert_int_equal(receive(0, 56, true), NET_DROP_frag_tiny);
	assert_int_equal(receive(8, 800, true), NET_DROP_frag_tiny);
	f.proto = NET_PROTO_DEST_OPTIONS; /* a chain that would go on in the next */
	assert_int_equal(receive(0, 800, true), NET_DROP_ip6_unknown_proto);
}

static void test_frag_given_many_pieces_drops_all_of_it(void **state)
{
	(void)state;
	assert_waits(receive(0, 24, true));
	for (uint32_t i = 1; i < NET_FRAG_PIECES_MAX; i++)
		assert_waits(receive(16 + i * 8, 8, true));
	assert_int_equal(receive(16 + NET_FRAG_PIECES_MAX * 8, 8, false), NET_DROP_frag_many);
	assert_int_equal(receive(16 + NET_FRAG_PIECES_MAX * 8, 8, false), NET_DROP_frag_late);
}

/* RFC 3168 section 5.3. */
static void test_frag_given_marks_joins_them_or_drops(void **state)
{
	(void)state;
	for (int family = 0; family < 2; family++) {
		f.ip6 = family;
		f.id++;
		f.tos = 2;
		assert_waits(receive(0, 800, true));
		f.tos = 3;
		assert_int_equal(receive(800, 8, false), NET_DROP_NONE);
		assert_whole(808);
		assert_int_equal(f.ip6 ? f.whole.frame[15] >> 4 & 3 : f.whole.frame[15] & 3, 3);
		f.id++;
		f.tos = 0;
		assert_waits(receive(0, 800, true));
		f.tos = 3;
		assert_int_equal(receive(800, 8, false), NET_DROP_frag_ecn);
		assert_null(f.whole.frame);
	}
}

/* -- bounds -------------------------------------------------------------------------------------
 */

static void test_frag_given_silence_gives_up_in_time(void **state)
{
	struct net_frag_first first;

	(void)state;
	assert_waits(receive(0, 800, true));
	f.now_us += NET_FRAG_TIMEOUT4_US - 1;
	assert_false(net_frag_expire(f.table, f.now_us, &first));
	assert_true(net_frag_waits(f.table));
	assert_true(net_frag_expire(f.table, f.now_us + 1, &first));
	assert_false(net_frag_expire(f.table, f.now_us + 1, &first));
	assert_false(net_frag_waits(f.table));
	assert_int_equal(f.counters.frag_timeout, 1);
	f.now_us++;
	assert_waits(receive(800, 8, false)); /* a new one, without its first */

	f.ip6 = true;
	assert_waits(receive(0, 800, true)); /* RFC 8200: 60 s from the first to come */
	f.now_us += NET_FRAG_TIMEOUT6_US - 1;
	assert_int_equal(receive(800, 8, false), NET_DROP_NONE);
	assert_non_null(f.whole.frame);
}

/* RFC 792, RFC 1122 section 3.2.2: the header as it came, and eight bytes. */
static void test_frag_given_first_without_rest_tells_its_source(void **state)
{
	uint8_t frame[NET_ICMP_REASSEMBLY_FRAME_LEN];
	const uint8_t *ip = frame + NET_ETH_HLEN, *msg = ip + NET_IP4_HLEN;
	struct net_frag_first first;

	(void)state;
	assert_waits(receive(0, 800, true));
	f.id = 8;
	assert_waits(receive(800, 8, false)); /* a rest without first: nobody hears of it */
	f.id = 9;
	assert_waits(receive(0, 800, true));
	assert_int_equal(receive(0, 1600, true), NET_DROP_frag_overlap); /* nor of this */
	f.now_us += NET_FRAG_TIMEOUT4_US;
	assert_true(net_frag_expire(f.table, f.now_us, &first));
	assert_int_equal(first.data_bytes, 800);
	assert_true(net_icmp_build_reassembly_timeout(frame, &first, 1));
	assert_false(net_frag_expire(f.table, f.now_us, &first));
	assert_false(net_frag_waits(f.table));
	assert_int_equal(f.counters.frag_timeout, 2);

	assert_memory_equal(frame, peer_mac.b, 6);
	assert_memory_equal(frame + 6, our_mac.b, 6);
	assert_memory_equal(ip + 12, ((uint8_t[]){10, 0, 0, 1, 10, 0, 0, 2}), 8);
	assert_int_equal(naive_checksum(0, ip, NET_IP4_HLEN), 0);
	assert_int_equal(msg[0], 11);
	assert_int_equal(msg[1], 1);
	assert_int_equal(naive_checksum(0, msg, 36), 0);
	assert_int_equal(naive_checksum(0, msg + 8, NET_IP4_HLEN), 0);
	assert_int_equal(msg[8 + 2] << 8 | msg[8 + 3], NET_IP4_HLEN + 800);
	assert_int_equal(msg[8 + 5], 7);	   /* the identification */
	assert_int_equal(msg[8 + 6] & 0x20, 0x20); /* more fragments */
	assert_memory_equal(msg + 28, f.payload, 8);
}

/* RFC 1122 section 3.2.2: never about ICMP's own errors. */
static void test_frag_given_icmp_error_without_rest_tells_nobody(void **state)
{
	uint8_t frame[NET_ETH_HLEN + NET_IP6_MTU_MIN];
	struct net_frag_first first;

	(void)state;
	f.proto = NET_PROTO_ICMP;
	f.payload[0] = 3;
	assert_waits(receive(0, 800, true));
	f.now_us += NET_FRAG_TIMEOUT4_US;
	assert_true(net_frag_expire(f.table, f.now_us, &first));
	assert_false(net_icmp_build_reassembly_timeout(frame, &first, 1));
	f.payload[0] = 8; /* but of an echo request */
	assert_waits(receive(0, 800, true));
	f.now_us += NET_FRAG_TIMEOUT4_US;
	assert_true(net_frag_expire(f.table, f.now_us, &first));
	assert_true(net_icmp_build_reassembly_timeout(frame, &first, 1));

	f.ip6 = true;
	f.proto = NET_PROTO_ICMP6;
	f.payload[0] = 1;
	assert_waits(receive(0, 800, true));
	f.now_us += NET_FRAG_TIMEOUT6_US;
	assert_true(net_frag_expire(f.table, f.now_us, &first));
	assert_int_equal(net_icmp6_build_reassembly_timeout(frame, &first, &f.iface), 0);
}

/* RFC 4443 section 3.3: as much as fits in 1280 bytes, fragment header and all. */
static void test_frag_given_first_of_ip6_without_rest_tells_its_source(void **state)
{
	uint8_t frame[NET_ETH_HLEN + NET_IP6_MTU_MIN];
	const uint8_t *ip = frame + NET_ETH_HLEN, *msg = ip + NET_IP6_HLEN, *quote = msg + 8;
	struct net_frag_first first;

	(void)state;
	f.ip6 = true;
	for (uint32_t len = 800; len <= 1400; len += 600) {
		size_t said = len < 1184 ? len : 1184;
		uint32_t sum;

		assert_waits(receive(0, len, true));
		f.now_us += NET_FRAG_TIMEOUT6_US;
		assert_true(net_frag_expire(f.table, f.now_us, &first));
		assert_int_equal(net_icmp6_build_reassembly_timeout(frame, &first, &f.iface),
			NET_ETH_HLEN + NET_IP6_HLEN + 8 + 48 + said);
		assert_memory_equal(ip + 8, our_ip6.b, 16);
		assert_memory_equal(ip + 24, peer_ip6.b, 16);
		assert_int_equal(msg[0], 3);
		assert_int_equal(msg[1], 1);
		sum = net_checksum_pseudo6(ip + 8, ip + 24, NET_PROTO_ICMP6, (uint32_t)(56 + said));
		assert_int_equal(net_checksum_fold(net_checksum_add(sum, msg, 56 + said)), 0);
		assert_int_equal(quote[4] << 8 | quote[5], 8 + len);
		assert_int_equal(quote[6], NET_PROTO_FRAGMENT);
		assert_int_equal(quote[40], NET_PROTO_TCP);
		assert_int_equal(quote[42] << 8 | quote[43], 1);
		assert_int_equal(quote[47], 7);
		assert_memory_equal(quote + 48, f.payload, said);
	}
}

static void test_frag_given_many_of_one_source_gives_up_its_oldest(void **state)
{
	uint64_t was_us = f.now_us;

	(void)state;
	f.source = 3;
	assert_waits(receive(0, 800, true)); /* of somebody else, and older */
	f.source = 2;
	for (uint32_t i = 0; i <= NET_FRAG_PER_SOURCE_MAX; i++) {
		f.now_us += MS;
		f.id = i;
		assert_waits(receive(0, 800, true));
	}
	assert_int_equal(f.counters.frag_source_full, 1);
	assert_int_equal(f.counters.frag_full, 0);
	f.id = 0;
	assert_waits(
		receive(800, 8, false)); /* whose first is gone; and it took number 1's place */
	f.id = 2;
	assert_int_equal(receive(800, 8, false), NET_DROP_NONE);
	assert_non_null(f.whole.frame);
	f.id = 7;
	f.source = 3;
	f.now_us = was_us + 100 * MS;
	assert_int_equal(receive(800, 8, false), NET_DROP_NONE);
	assert_non_null(f.whole.frame);
}

static void test_frag_given_many_sources_gives_up_the_oldest(void **state)
{
	(void)state;
	for (uint32_t i = 0; i <= NET_FRAG_DATAGRAMS_MAX; i++) {
		f.now_us += MS;
		f.source = (uint8_t)(10 + i);
		assert_waits(receive(0, 800, true));
	}
	assert_int_equal(f.counters.frag_full, 1);
	assert_int_equal(f.counters.frag_source_full, 0);
	assert_int_equal(receive(800, 8, false), NET_DROP_NONE); /* the newest is there */
	assert_non_null(f.whole.frame);
	f.source = 10; /* the oldest is not */
	assert_waits(receive(800, 8, false));
}

/* A source of IPv6 is its /64. */
static void test_frag_given_many_addresses_of_a_prefix_counts_one_source(void **state)
{
	(void)state;
	f.ip6 = true;
	for (uint32_t i = 0; i <= NET_FRAG_PER_SOURCE_MAX; i++) {
		f.source = (uint8_t)(10 + i);
		assert_waits(receive(0, 800, true));
	}
	assert_int_equal(f.counters.frag_source_full, 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_frag_given_order_makes_the_whole),
		T(test_frag_given_any_order_makes_the_whole),
		T(test_frag_given_names_that_differ_keeps_them_apart),
		T(test_frag_given_longest_packet_takes_it),
		T(test_frag_given_repetition_ignores_it),
		T(test_frag_given_whole_says_that_it_was_fragmented),
		T(test_frag_given_overlap_drops_all_of_it),
		T(test_frag_given_repetition_with_other_bytes_drops_all_of_it),
		T(test_frag_given_two_ends_drops_all_of_it),
		T(test_frag_given_lengths_no_fragment_has_drops),
		T(test_frag_given_end_past_the_longest_packet_drops),
		T(test_frag_given_header_in_two_drops),
		T(test_frag_given_many_pieces_drops_all_of_it),
		T(test_frag_given_marks_joins_them_or_drops),
		T(test_frag_given_silence_gives_up_in_time),
		T(test_frag_given_first_without_rest_tells_its_source),
		T(test_frag_given_icmp_error_without_rest_tells_nobody),
		T(test_frag_given_first_of_ip6_without_rest_tells_its_source),
		T(test_frag_given_many_of_one_source_gives_up_its_oldest),
		T(test_frag_given_many_sources_gives_up_the_oldest),
		T(test_frag_given_many_addresses_of_a_prefix_counts_one_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
