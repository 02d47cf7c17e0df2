/* Fuzzes what the main thread makes of an agent's packets (ctl/agent.c), over a socket as in the
 * daemon, with fake engines.
 *
 * The input is a run of steps; the low two bits of a step's first byte choose:
 *
 *	0  LENGTH16 BYTES...        a packet of these bytes
 *	1  AT FLIP                  a hello, one byte of it changed unless FLIP is 0
 *	2  COUNT AT16 FLIP CUT FLOW...
 *	                            a packet of orders, each with a byte of its flow's number; one
 *	                            byte of it changed, and CUT bytes shorter
 *	3  COUNT                    the engines have so many reports more each
 *
 * Bit 2: the daemon has a turn first, and so not several packets in one; bit 3: the agent reads
 * afterwards. What the daemon counts, what each engine is handed, whether the agent is still let
 *in, and that it gets every report must be what a second reading of proto/mtcp_agent.h says.
 */
#include <ctl/log.h>
#include <ctl/server_state.h>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../unit/ctl/fake_engine.h"

enum {
	STEPS_MAX = 64,
	PACKET_MAX = 4096,
	ORDERS_MAX = MTCP_AGENT_BATCH + 2,
	ENGINE_ORDERS_MAX = 100, /* that a fake takes */
	READ_TURNS = 16,	 /* more than bring all that fakes may report */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *at;
	size_t left;
};

/* What should be. */
struct expected {
	bool attached, gone;
	uint64_t malformed, dropped, orders;
	uint32_t engine_orders[FAKE_ENGINES], wakes[FAKE_ENGINES];
};

static struct server server;
static struct config config;
static struct sockaddr_un address;
static socklen_t address_len = sizeof(address);

/* Not assert(): a fuzzer must notice in every kind of build. */
static void require(bool holds)
{
	if (!holds)
		abort();
}

static uint8_t u8(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->at++;
}

static uint16_t u16(struct input *in)
{
	uint16_t low = u8(in);

	return (uint16_t)(low | u8(in) << 8);
}

static void turn(void)
{
	require(loop_run_once(server.p.loop, 0) == 0);
	fake_turn();
	agent_pump(&server);
}

/* -- once ------------------------------------------------------------------------------------- */

static void server_begin(void)
{
	static struct engine *const engines[FAKE_ENGINES] = {&fake_engine[0], &fake_engine[1]};
	static struct engine_thread *const threads[FAKE_ENGINES] = {
		&fake_thread[0], &fake_thread[1]};
	const struct uid_limits limits = {.attach_rate_per_s = UINT32_MAX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	log_level_set(LOG_LEVEL_ERROR);
	server.p = (struct server_params){.cfg = &config,
		.engines = engines,
		.threads = threads,
		.engine_count = FAKE_ENGINES};
	server.fds_max = 16;
	server.agent.fd = -1;
	require(loop_create(&server.p.loop) == 0 && uid_table_create(&server.uids, &limits) == 0);
	address.sun_family = AF_UNIX; /* and a name that the kernel chooses */
	require(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)) == 0);
	require(getsockname(fd, (struct sockaddr *)&address, &address_len) == 0);
	require(listen(fd, 4) == 0 && agent_start(&server, fd) == 0);
}

/* -- a packet --------------------------------------------------------------------------------- */

static bool is_hello(const uint8_t *packet, size_t len)
{
	struct mtcp_agent_hello h;
	static const char no_name[sizeof(h.name)];

	if (len != sizeof(h))
		return false;
	memcpy(&h, packet, sizeof(h));
	return h.type == MTCP_AGENT_HELLO && h.version == MTCP_AGENT_VERSION &&
	       h.magic == MTCP_AGENT_MAGIC && !h.engines && !h.slots && !h.interval_us &&
	       !h.reserved && memcmp(h.name, no_name, sizeof(no_name)) == 0;
}

static void break_off(struct expected *want)
{
	want->malformed++;
	want->gone = true;
}

static void expect_order(struct expected *want, const struct mtcp_agent_order *o, bool *wake)
{
	uint32_t e = mtcp_agent_engine(o->flow);

	if (o->type != MTCP_AGENT_ORDER || o->reserved || o->flags > MTCP_AGENT_KEEP ||
		e >= FAKE_ENGINES) {
		break_off(want);
		return;
	}
	want->orders++;
	if (want->engine_orders[e] == ENGINE_ORDERS_MAX) {
		want->dropped++;
		return;
	}
	want->engine_orders[e]++;
	wake[e] = true;
}

static void expect_orders(struct expected *want, const uint8_t *packet, size_t len)
{
	bool wake[FAKE_ENGINES] = {false};
	struct mtcp_agent_order o;

	if (len % sizeof(o)) {
		break_off(want);
		return;
	}
	for (size_t at = 0; at < len && !want->gone; at += sizeof(o)) {
		memcpy(&o, packet + at, sizeof(o));
		expect_order(want, &o, wake);
	}
	for (uint32_t e = 0; e < FAKE_ENGINES; e++)
		want->wakes[e] += wake[e];
}

static void expect_packet(struct expected *want, const uint8_t *packet, size_t len)
{
	if (len == 0) /* to a reader the same as the end */
		want->gone = true;
	else if (len > MTCP_AGENT_BATCH * sizeof(struct mtcp_agent_order))
		break_off(want);
	else if (want->attached)
		expect_orders(want, packet, len);
	else if (is_hello(packet, len))
		want->attached = true;
	else
		break_off(want);
}

/* What was sent after the packet that ended it is not looked at. */
static void send_packet(int fd, struct expected *want, const uint8_t *packet, size_t len)
{
	if (send(fd, packet, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len && !want->gone)
		expect_packet(want, packet, len);
}

/* -- steps ------------------------------------------------------------------------------------ */

static size_t make_raw(struct input *in, uint8_t *packet)
{
	size_t len = u16(in) % PACKET_MAX;

	if (len > in->left)
		len = in->left;
	if (len)
		memcpy(packet, in->at, len);
	in->at += len;
	in->left -= len;
	return len;
}

static size_t make_hello(struct input *in, uint8_t *packet)
{
	const struct mtcp_agent_hello h = {
		.type = MTCP_AGENT_HELLO, .version = MTCP_AGENT_VERSION, .magic = MTCP_AGENT_MAGIC};
	size_t at = u8(in) % sizeof(h);

	memcpy(packet, &h, sizeof(h));
	packet[at] ^= u8(in);
	return sizeof(h);
}

static size_t make_orders(struct input *in, uint8_t *packet)
{
	size_t count = 1 + u8(in) % ORDERS_MAX, at = u16(in), len = 0, cut;
	uint8_t flip = u8(in);

	cut = u8(in) % sizeof(struct mtcp_agent_order);
	for (size_t i = 0; i < count; i++, len += sizeof(struct mtcp_agent_order)) {
		const struct mtcp_agent_order o = {.type = MTCP_AGENT_ORDER,
			.flow = (uint64_t)(u8(in) % FAKE_ENGINES) << 24,
			.cwnd_bytes = 100000};

		memcpy(packet + len, &o, sizeof(o));
	}
	packet[at % len] ^= flip;
	return len - cut;
}

static void give_reports(struct input *in)
{
	uint32_t count = u8(in);

	for (uint32_t e = 0; e < FAKE_ENGINES; e++)
		for (uint32_t i = 0; i < count && fake_engine[e].report_count < 2048; i++) {
			uint32_t n = fake_engine[e].report_count++;

			fake_engine[e].reports[n] = (struct mtcp_agent_report){
				.type = MTCP_AGENT_REPORT, .seq = n, .flow = e << 24};
		}
}

/* Whole reports, each engine's in order; first of all the daemon's hello. */
static void read_reports(int fd, uint32_t next[FAKE_ENGINES], bool *greeted)
{
	struct mtcp_agent_report r[MTCP_AGENT_BATCH + 1];
	ssize_t n;

	while ((n = recv(fd, r, sizeof(r), MSG_DONTWAIT)) > 0) {
		if (!*greeted) {
			require(n == sizeof(struct mtcp_agent_hello));
			*greeted = true;
			continue;
		}
		require(n % (ssize_t)sizeof(r[0]) == 0 && n < (ssize_t)sizeof(r));
		for (size_t i = 0; i < (size_t)n / sizeof(r[0]); i++)
			require(r[i].seq == next[mtcp_agent_engine(r[i].flow)]++);
	}
}

/* A turn brings AGENT_PACKETS_MAX packets, or what the socket holds. */
static void read_rest(int fd, uint32_t next[FAKE_ENGINES], bool *greeted)
{
	for (int i = 0; i < READ_TURNS; i++) {
		turn();
		read_reports(fd, next, greeted);
	}
	for (uint32_t e = 0; e < FAKE_ENGINES; e++)
		require(next[e] == fake_engine[e].report_count);
}

static void step(int fd, struct input *in, struct expected *want, uint32_t *next, bool *greeted)
{
	static uint8_t packet[PACKET_MAX];
	uint8_t kind = u8(in);

	if (kind & 4)
		turn();
	if ((kind & 3) == 0)
		send_packet(fd, want, packet, make_raw(in, packet));
	else if ((kind & 3) == 1)
		send_packet(fd, want, packet, make_hello(in, packet));
	else if ((kind & 3) == 2)
		send_packet(fd, want, packet, make_orders(in, packet));
	else
		give_reports(in);
	if (kind & 8)
		read_reports(fd, next, greeted);
}

/* -- an input --------------------------------------------------------------------------------- */

static void engines_reset(void)
{
	for (uint32_t e = 0; e < FAKE_ENGINES; e++) {
		struct engine *f = &fake_engine[e];

		f->report_first = f->report_count = f->orders = 0;
		f->orders_max = ENGINE_ORDERS_MAX;
		fake_thread[e].wakes = 0;
	}
}

static void judge(const struct ctl_counters *before, const struct expected *want)
{
	const struct ctl_counters *now = &server.counters;
	bool there = want->attached && !want->gone;

	require((server.agent.fd >= 0) == !want->gone);
	require(server.agent.attached == there);
	require(server.fds_used == !want->gone);
	require(now->agents - before->agents == want->attached);
	require(now->agents_refused == before->agents_refused);
	require(now->agent_malformed - before->agent_malformed == want->malformed);
	require(now->agent_orders_dropped - before->agent_orders_dropped == want->dropped);
	require(server.agent.orders == want->orders);
	for (uint32_t e = 0; e < FAKE_ENGINES; e++) {
		require(fake_engine[e].agent_epoch == (there ? server.agent.epochs : 0));
		require(fake_engine[e].orders == want->engine_orders[e]);
		require(fake_thread[e].wakes == want->wakes[e]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct input in = {data, size};
	uint32_t next[FAKE_ENGINES] = {0};
	struct expected want = {0};
	struct ctl_counters before;
	bool greeted = false;

	if (!server.p.loop)
		server_begin();
	engines_reset();
	before = server.counters;
	require(connect(fd, (struct sockaddr *)&address, address_len) == 0);
	turn();
	loop_timer_cancel(server.p.loop, &server.agent.deadline); /* however slow the machine */
	for (int i = 0; i < STEPS_MAX && in.left; i++)
		step(fd, &in, &want, next, &greeted);
	for (int i = 0; i <= STEPS_MAX / AGENT_PACKETS_MAX; i++)
		turn();
	judge(&before, &want);
	if (want.attached && !want.gone)
		read_rest(fd, next, &greeted);
	close(fd);
	turn();
	require(server.agent.fd < 0 && server.fds_used == 0 && !fake_engine[0].agent_epoch);
	return 0;
}
