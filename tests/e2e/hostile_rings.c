/* Cases that lie about indices and sleep, or make a doorbell dear. */
#include "hostile.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

static const struct proto_slot asks = {.head = PROTO_OP_INFO}; /* an answer for each */

static void set_index(struct hostile *h, uint32_t idx)
{
	atomic_store_explicit(hostile_cons_idx(h), idx, memory_order_release);
}

/* Asks until the engine had to look at the index; the answers are not read. */
static int push_until_ended(struct hostile *h, const char *what)
{
	for (uint32_t i = 0; i < 4u << h->layout.ring_order_log2; i++)
		if (!hostile_push(h, &asks))
			break;
	return hostile_expect(h, PROTO_CONDEMNED_INDEX, what);
}

int case_index_ahead(void)
{
	static const uint32_t ahead[] = {1000, 1u << 20, 1u << 31, UINT32_MAX};
	int failed = 0;

	for (size_t i = 0; i < sizeof(ahead) / sizeof(*ahead); i++) {
		char what[64];
		struct hostile h;

		hostile_attach(&h);
		set_index(&h, ahead[i]);
		snprintf(what, sizeof(what), "its index runs ahead to %u", ahead[i]);
		failed += push_until_ended(&h, what);
	}
	return failed ? 1 : 0;
}

int case_index_back(void)
{
	struct proto_slot s;
	struct hostile h;

	hostile_attach(&h);
	for (uint32_t i = 0; i < 3u << h.layout.ring_order_log2; i++)
		if (!hostile_push(&h, &asks) || !hostile_await(&h, PROTO_EV_RESULT, &s))
			return hostile_expect_alive(&h, "no answer before it began to lie") || 1;
	set_index(&h, 7);
	return push_until_ended(&h, "its index runs back");
}

/* Whatever it says, the session ends or lives; nobody else is to notice. */
int case_index_random(void)
{
	unsigned int ended = 0;

	for (int i = 0; i < 20; i++) {
		struct hostile h;
		bool alive = true;

		hostile_attach(&h);
		for (int k = 0; k < 2000 && alive; k++) {
			set_index(&h, hostile_random() % (k % 2 ? 1 << 9 : UINT32_MAX));
			alive = hostile_try_push(&h, &asks) || k < 1000;
		}
		ended += hostile_ended(&h) == PROTO_CONDEMNED_INDEX;
		hostile_detach(&h);
	}
	printf("%u of 20 sessions with a random index ended\n", ended);
	return ended >= 15 ? 0 : 1;
}

/* -- sleep
 * ------------------------------------------------------------------------------------------ */

/* A stream to the echo server and back for a while; reads its completions only if told to. */
static void traffic(struct hostile *h, bool reads, bool sleeps)
{
	uint64_t end_us = hostile_now_us() + HOSTILE_RUN_MS * UINT64_C(1000);
	struct proto_handle sk = hostile_connect(h);
	uint64_t pos = 0;

	while (hostile_now_us() < end_us) {
		struct proto_slot s = {.head = PROTO_OP_SEND};

		s.body.send.handle = sk;
		s.body.send.pos = pos;
		s.body.send.len_bytes = 64;
		hostile_payload(h, &s.body.send.ref);
		if (hostile_try_push(h, &s))
			pos += 64;
		hostile_try_push(h, &asks);
		while (reads && hostile_pop(h, &s, 0)) {
			struct proto_slot consumed = {.head = PROTO_OP_CONSUMED};

			if (proto_head_op(s.head) != PROTO_EV_FLOW)
				continue;
			consumed.body.consumed.handle = sk;
			consumed.body.consumed.pos = s.body.flow.received_pos;
			hostile_try_push(h, &consumed);
		}
		if (sleeps)
			shm_sleep_announce(hostile_sleeping(h)); /* another sleep each time */
		usleep(20);
	}
}

/* Its completions stay unread; when it reads again, nothing is lost. */
int case_deaf(void)
{
	struct hostile h;

	hostile_attach(&h);
	traffic(&h, false, true);
	return hostile_expect_alive(&h, "does not read its ring");
}

int case_never_sleeps(void)
{
	struct hostile h;

	hostile_attach(&h);
	atomic_store(hostile_sleeping(&h), 0);
	traffic(&h, true, false);
	return hostile_expect_alive(&h, "never says that it sleeps");
}

/* It sleeps anew all the time, and never drains the doorbell; then it sleeps for ever. */
int case_never_wakes(void)
{
	struct hostile h;

	hostile_attach(&h);
	traffic(&h, true, true);
	traffic(&h, true, false);
	return hostile_expect_alive(&h, "says that it sleeps, and never wakes");
}

/* Rings its eventfd without end and without a reason. */
int case_bells(void)
{
	uint64_t end_us = hostile_now_us() + HOSTILE_RUN_MS * UINT64_C(1000);
	struct hostile h;
	unsigned int n = 0;

	hostile_attach(&h);
	for (; hostile_now_us() < end_us; n++)
		shm_doorbell_event_ring(hostile_event_fd(&h));
	printf("%u doorbells for nothing\n", n);
	return hostile_expect_alive(&h, "rings for nothing");
}

/* -- epoll storm
 * -------------------------------------------------------------------------------------- */

/* The doorbell's end in as many epoll instances, and as often in each by duplicates, as this
 * process may: each ring walks through all of them. */
static unsigned int watch_bell(int bell, unsigned int watchers)
{
	struct rlimit limit;
	unsigned int dups, made = 0;
	int *dup_fd;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	dups = limit.rlim_cur < 2000 ? 100 : 1000;
	dup_fd = calloc(dups, sizeof(*dup_fd));
	for (unsigned int i = 0; i < dups; i++)
		dup_fd[i] = dup(bell);
	while (made < watchers) {
		int ep = epoll_create1(0);

		if (ep < 0)
			break;
		for (unsigned int i = 0; i < dups; i++, made++) {
			struct epoll_event ev = {.events = EPOLLIN | EPOLLET};

			if (epoll_ctl(ep, EPOLL_CTL_ADD, dup_fd[i], &ev))
				goto out;
		}
	}
out:
	free(dup_fd);
	return made;
}

/* Asks, sleeps, drains, and asks again: each answer is a ring. Returns how many there were. */
static unsigned int ring_often(struct hostile *h, uint64_t *longest_us)
{
	uint64_t end_us = hostile_now_us() + HOSTILE_RUN_MS * UINT64_C(1000);
	struct proto_slot s;
	unsigned int n = 0;

	*longest_us = 0;
	for (; hostile_now_us() < end_us; n++) {
		uint64_t start_us = hostile_now_us();

		shm_sleep_announce(hostile_sleeping(h));
		if (!hostile_push(h, &asks) || !hostile_await(h, PROTO_EV_RESULT, &s))
			break;
		if (hostile_now_us() - start_us > *longest_us)
			*longest_us = hostile_now_us() - start_us;
		shm_doorbell_pipe_drain(hostile_bell_fd(h));
		atomic_fetch_add(hostile_sleeping(h), 2); /* another sleep: each is rung once */
		usleep(500);
	}
	return n;
}

static unsigned int watchers_wanted(void)
{
	const char *wanted = getenv("WATCHERS");

	return wanted ? (unsigned int)atoi(wanted) : 200000;
}

int case_epoll_storm(void)
{
	unsigned int watchers, n;
	uint64_t longest_us;
	struct hostile h;

	hostile_attach(&h);
	watchers = watch_bell(hostile_bell_fd(&h), watchers_wanted());
	n = ring_often(&h, &longest_us);
	printf("%u watchers, %u answers, the slowest after %llu us\n", watchers, n,
		(unsigned long long)longest_us);
	return hostile_expect_alive(&h, "epoll storm");
}

/* The same with a doorbell of its own: what the kernel lets anybody do to a CPU. */
int case_epoll_storm_alone(void)
{
	uint64_t end_us, start_us, longest_us = 0;
	unsigned int watchers, n = 0;
	int fds[2];

	if (shm_doorbell_pipe(fds))
		hostile_die("doorbell");
	watchers = watch_bell(fds[0], watchers_wanted());
	end_us = hostile_now_us() + HOSTILE_RUN_MS * UINT64_C(1000);
	for (; (start_us = hostile_now_us()) < end_us; n++) {
		shm_doorbell_pipe_ring(fds[1]);
		if (hostile_now_us() - start_us > longest_us)
			longest_us = hostile_now_us() - start_us;
		shm_doorbell_pipe_drain(fds[0]);
		usleep(500);
	}
	printf("%u watchers of its own, %u rings, the slowest took %llu us\n", watchers, n,
		(unsigned long long)longest_us);
	return 0;
}
