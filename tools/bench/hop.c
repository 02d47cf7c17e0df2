/* bench-hop: how long a slot and 64 bytes of payload take from one process to another.
 *
 * Two threads, each bound to a CPU of its own, with the rings, segments and doorbells that
 * client and engine use, and as they use them: the sender copies the payload into its segment and
 * pushes a slot that names the place; the receiver takes the slot, follows it, and copies the
 * payload out. Time runs from before the first copy to behind the second, by the clock that both
 * CPUs share. The two send in turn, so that both directions count and each line changes its owner
 * as often as it does between two busy sides.
 *
 *	awake    the receiver polls
 *	slot     the same without payload: what a payload inside of the slot could save at most
 *	asleep   the receiver has announced sleep and blocks, after a pause of GAP_US and more that
 *	         lets its CPU fall idle: the doorbell rings (eventfd towards the engine, socket pair
 *	         towards the client)
 *	bare     the same pauses and a blocking read of an eventfd, nothing else: what a wake-up
 *	         across CPUs costs on this machine, whoever does it
 *
 * Half of the mean round trip, which is told beside, needs one clock only and counts what an end
 * does between two messages, too.
 *
 * Each part is done in rounds. A round's percentiles are taken by themselves, and the median over
 * the rounds is told: on a machine that others use, one round that was disturbed does not decide.
 */
#include <proto/slot.h>
#include <shm/doorbell.h>
#include <shm/ring.h>
#include <shm/segment.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

enum {
	ORDER = 8, /* 256 slots, the default of limits.ring_slots */
	PAYLOAD_BYTES = 64,
	PAYLOAD_AREA = 64 << 10, /* used round and round, as transmit and receive memory is */
	SEGMENT_BYTES = 2 << 20,
	ROUNDS_MAX = 101,
	GAP_US = 300,
	WARMUP = 1000,
};

enum end { CLIENT, ENGINE };

/* One direction: what its sender writes and its receiver reads. */
struct direction {
	struct shm_ring_prod prod;
	struct shm_ring_cons cons;
	uint8_t *area;
	uint32_t rung;
	_Atomic uint32_t *asleep; /* the receiver's flag, in the receiver's segment */
	uint32_t *sample_ns;
};

static struct {
	unsigned int rounds, messages, wakes;
	int cpu[2];
} arg = {.rounds = 7, .messages = 100000, .wakes = 1000, .cpu = {0, 1}};

static bool with_payload = true;
static double half_trip_ns[ROUNDS_MAX];
static struct shm_segment segment[2];			 /* by the end that writes it */
static struct direction direction[2];			 /* by the end that sends */
static int event_fd, pipe_fds[2], epoll_fd, bare_fds[2]; /* bare: by the end that reads */
static _Atomic uint64_t bare_sent[2];			 /* by the end that sends */
static double ns_per_tick = 1;
static pthread_barrier_t start;

/* -- time ------------------------------------------------------------------------------------ */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline uint64_t ticks(void)
{
#if defined(__x86_64__)
	return __rdtsc();
#else
	return now_ns();
#endif
}

static void calibrate(void)
{
	uint64_t t0 = now_ns(), k0 = ticks();

	while (now_ns() - t0 < 20000000)
		;
	ns_per_tick = (double)(now_ns() - t0) / (double)(ticks() - k0);
}

static uint32_t elapsed_ns(uint64_t since)
{
	uint64_t now = ticks();

	return now > since ? (uint32_t)((double)(now - since) * ns_per_tick) : 0;
}

/* -- one message ------------------------------------------------------------------------------ */

static void send_message(struct direction *d, uint32_t number)
{
	uint64_t offset = (uint64_t)number * PAYLOAD_BYTES % PAYLOAD_AREA;
	uint8_t payload[PAYLOAD_BYTES];
	struct proto_slot slot = {.head = proto_head_make(PROTO_OP_SEND, 0)};
	struct shm_slot_copy raw;

	memset(payload, (int)number, sizeof(payload));
	slot.body.send.pos = ticks(); /* in the place of the position */
	if (with_payload)
		memcpy(d->area + offset, payload, sizeof(payload));
	slot.body.send.ref = proto_ref_make(0, offset);
	slot.body.send.len_bytes = PAYLOAD_BYTES;
	memcpy(raw.word, &slot, sizeof(slot));
	if (shm_ring_prod_push(&d->prod, &raw)) {
		fputs("bench-hop: a ring is full that cannot be\n", stderr);
		exit(1);
	}
}

/* False: none is there. */
static bool take_message(struct direction *d, uint32_t number)
{
	uint8_t payload[PAYLOAD_BYTES];
	struct shm_slot_copy raw;
	struct proto_slot slot;
	uint32_t ns;

	if (!shm_ring_cons_pop(&d->cons, &raw))
		return false;
	memcpy(&slot, raw.word, sizeof(slot));
	if (with_payload)
		memcpy(payload, d->area + proto_ref_offset(slot.body.send.ref), sizeof(payload));
	else
		memset(payload, (int)number, sizeof(payload));
	__asm__ volatile("" : : "r"(payload) : "memory");
	ns = elapsed_ns(slot.body.send.pos);
	shm_ring_cons_publish(&d->cons);
	if (payload[0] != (uint8_t)number || payload[PAYLOAD_BYTES - 1] != (uint8_t)number) {
		fputs("bench-hop: wrong payload\n", stderr);
		exit(1);
	}
	if (number >= WARMUP)
		d->sample_ns[number - WARMUP] = ns;
	return true;
}

static void relax(void)
{
#if defined(__x86_64__)
	_mm_pause();
#endif
}

static void awake(enum end me)
{
	for (uint32_t i = 0; i < WARMUP + arg.messages; i++) {
		if (me == CLIENT)
			send_message(&direction[CLIENT], i);
		while (!take_message(&direction[!me], i))
			relax();
		if (me == ENGINE)
			send_message(&direction[ENGINE], i);
	}
}

/* -- asleep ----------------------------------------------------------------------------------- */

static void block(enum end me)
{
	struct epoll_event ev;
	struct pollfd p = {.fd = pipe_fds[0], .events = POLLIN};

	if (me == ENGINE) {
		epoll_pwait2(epoll_fd, &ev, 1, NULL, NULL);
		return;
	}
	if (ppoll(&p, 1, NULL, NULL) == 1)
		shm_doorbell_pipe_drain(pipe_fds[0]);
}

static void sleep_for_message(enum end me, uint32_t number)
{
	struct direction *d = &direction[!me];

	while (!take_message(d, number)) {
		shm_sleep_announce(d->asleep);
		if (!shm_ring_cons_ready(&d->cons))
			block(me);
		shm_sleep_cancel(d->asleep);
	}
}

static void ring(enum end me)
{
	if (!shm_sleep_check_once(direction[me].asleep, &direction[me].rung))
		return;
	if (me == CLIENT)
		shm_doorbell_event_ring(event_fd);
	else
		shm_doorbell_pipe_ring(pipe_fds[1]);
}

static void pause_a_while(unsigned int *seed)
{
	struct timespec gap = {0, (GAP_US + (long)(rand_r(seed) % 1000)) * 1000};

	nanosleep(&gap, NULL);
}

static void asleep(enum end me)
{
	unsigned int seed = 1;

	for (uint32_t i = WARMUP; i < WARMUP + arg.wakes; i++) {
		if (me == ENGINE)
			sleep_for_message(me, i);
		pause_a_while(&seed);
		send_message(&direction[me], i);
		ring(me);
		if (me == CLIENT)
			sleep_for_message(me, i);
	}
}

static void wait_bare(enum end me, uint32_t number)
{
	uint64_t value;

	if (read(bare_fds[me], &value, sizeof(value)) == sizeof(value))
		direction[!me].sample_ns[number] = elapsed_ns(bare_sent[!me]);
}

static void bare(enum end me)
{
	const uint64_t one = 1;
	unsigned int seed = 1;

	for (uint32_t i = 0; i < arg.wakes; i++) {
		if (me == ENGINE)
			wait_bare(me, i);
		pause_a_while(&seed);
		bare_sent[me] = ticks();
		if (write(bare_fds[!me], &one, sizeof(one)) != sizeof(one))
			exit(1);
		if (me == CLIENT)
			wait_bare(me, i);
	}
}

/* -- rounds ----------------------------------------------------------------------------------- */

static void bind_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set)) {
		perror("bench-hop: sched_setaffinity");
		exit(1);
	}
	prctl(PR_SET_TIMERSLACK, 1UL);
}

static void (*part)(enum end);

static void *engine(void *unused)
{
	(void)unused;
	bind_to(arg.cpu[ENGINE]);
	pthread_barrier_wait(&start);
	part(ENGINE);
	return NULL;
}

static void round_of(void (*what)(enum end))
{
	pthread_t thread;

	part = what;
	if (pthread_create(&thread, NULL, engine, NULL)) {
		fputs("bench-hop: no thread\n", stderr);
		exit(1);
	}
	pthread_barrier_wait(&start);
	what(CLIENT);
	pthread_join(thread, NULL);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

struct figure {
	double p50[ROUNDS_MAX], p99[ROUNDS_MAX];
};

static void take_figure(struct figure *f, unsigned int number, uint32_t *sample, uint32_t n)
{
	qsort(sample, n, sizeof(*sample), compare_u32);
	f->p50[number] = sample[n / 2];
	f->p99[number] = sample[(uint32_t)(0.99 * (n - 1))];
}

static double median(double *values)
{
	qsort(values, arg.rounds, sizeof(*values), compare);
	return values[arg.rounds / 2];
}

/* Both directions of the polled hop are one figure. */
static void round_awake(struct figure *f, unsigned int r, uint32_t *both)
{
	round_of(awake);
	for (int end = 0; end < 2; end++)
		memcpy(both + (size_t)end * arg.messages, direction[end].sample_ns,
			arg.messages * sizeof(*both));
	take_figure(f, r, both, 2 * arg.messages);
}

/* With payload and without in turn, so that both see the same machine. */
static void run_awake(struct figure *hop, struct figure *slot)
{
	uint32_t *both = calloc(2 * (size_t)arg.messages, sizeof(*both));

	for (unsigned int r = 0; both && r < arg.rounds; r++) {
		uint64_t begin = now_ns();

		round_awake(hop, r, both);
		half_trip_ns[r] = (double)(now_ns() - begin) / (arg.messages + WARMUP) / 2;
		with_payload = false;
		round_awake(slot, r, both);
		with_payload = true;
	}
	free(both);
}

/* The bare wake-up is taken between, so that all see the same machine. */
static void run_asleep(struct figure *to_engine, struct figure *to_client, struct figure *bare_wake)
{
	for (unsigned int r = 0; r < arg.rounds; r++) {
		round_of(asleep);
		take_figure(to_engine, r, direction[CLIENT].sample_ns, arg.wakes);
		take_figure(to_client, r, direction[ENGINE].sample_ns, arg.wakes);
		round_of(bare);
		take_figure(bare_wake, r, direction[CLIENT].sample_ns, arg.wakes);
	}
}

/* -- setting up ------------------------------------------------------------------------------- */

/* In each segment: the flag and the index that its owner writes as a receiver, then slots and
 * payload that it writes as a sender. */
static int set_up(void)
{
	enum { FLAG = 0, INDEX = 64, SLOTS = 4096, AREA = 1 << 20 };
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	uint32_t most = arg.messages > arg.wakes ? arg.messages : arg.wakes;

	for (int i = 0; i < 2; i++) {
		/* SHM_UP for both: the daemon's end of it is the one that may be written */
		int err = shm_segment_create(&segment[i], SHM_UP, SEGMENT_BYTES, false);

		if (err)
			return err;
	}
	for (int me = 0; me < 2; me++) {
		struct direction *d = &direction[me];
		uint8_t *mine = segment[me].base, *other = segment[!me].base;

		d->area = mine + AREA;
		d->asleep = (_Atomic uint32_t *)(void *)(other + FLAG);
		d->sample_ns = calloc(most, sizeof(*d->sample_ns));
		if (!d->sample_ns)
			return -ENOMEM;
		shm_ring_prod_init(&d->prod, (struct shm_slot *)(void *)(mine + SLOTS),
			(_Atomic uint32_t *)(void *)(other + INDEX), ORDER);
		shm_ring_cons_init(&d->cons, (struct shm_slot *)(void *)(mine + SLOTS),
			(_Atomic uint32_t *)(void *)(other + INDEX), ORDER);
	}
	for (int me = 0; me < 2; me++)
		if ((bare_fds[me] = eventfd(0, EFD_CLOEXEC)) < 0)
			return -errno;
	event_fd = shm_doorbell_event();
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (event_fd < 0 || epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event_fd, &ev))
		return -errno;
	return shm_doorbell_pipe(pipe_fds);
}

static void arguments(int argc, char **argv)
{
	bool good = true;
	int c;

	while (good && (c = getopt(argc, argv, "r:m:w:c:")) != -1) {
		if (c == 'r')
			arg.rounds = (unsigned int)atoi(optarg);
		else if (c == 'm')
			arg.messages = (unsigned int)atoi(optarg);
		else if (c == 'w')
			arg.wakes = (unsigned int)atoi(optarg);
		else
			good = c == 'c' && sscanf(optarg, "%d,%d", &arg.cpu[0], &arg.cpu[1]) == 2;
	}
	if (good && optind == argc && arg.rounds && arg.rounds <= ROUNDS_MAX && arg.messages &&
		arg.wakes)
		return;
	fputs("usage: bench-hop [-r ROUNDS] [-m MESSAGES] [-w WAKES] [-c CPU,CPU]\n", stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	static struct figure hop, slot, to_engine, to_client, bare_wake;
	int err;

	arguments(argc, argv);
	err = set_up();
	if (err) {
		fprintf(stderr, "bench-hop: %s\n", strerror(-err));
		return 1;
	}
	pthread_barrier_init(&start, NULL, 2);
	bind_to(arg.cpu[CLIENT]);
	calibrate();
	run_awake(&hop, &slot);
	run_asleep(&to_engine, &to_client, &bare_wake);
	printf("{\"hop_p50_ns\": %.0f, \"hop_p99_ns\": %.0f, \"hop_half_trip_ns\": %.0f, "
	       "\"slot_p50_ns\": %.0f, \"slot_p99_ns\": %.0f, "
	       "\"wake_engine_p50_us\": %.1f, "
	       "\"wake_engine_p99_us\": %.1f, \"wake_client_p50_us\": %.1f, "
	       "\"wake_client_p99_us\": %.1f, \"wake_bare_p50_us\": %.1f, "
	       "\"wake_bare_p99_us\": %.1f}\n",
		median(hop.p50), median(hop.p99), median(half_trip_ns), median(slot.p50),
		median(slot.p99), median(to_engine.p50) / 1000, median(to_engine.p99) / 1000,
		median(to_client.p50) / 1000, median(to_client.p99) / 1000,
		median(bare_wake.p50) / 1000, median(bare_wake.p99) / 1000);
	return 0;
}
