/* Cases that abuse the control socket: malformed messages, floods, crashes. */
#include "hostile.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEADER(t) .h = {.magic = PROTO_MAGIC, .version = PROTO_VERSION, .type = (t)}

/* -- malformed -----------------------------------------------------------------------------------
 */

static const union proto_msg good_listen = {
	.name = {HEADER(PROTO_MSG_LISTEN), .port = 9999, .backlog = 1}};

struct malformed {
	const char *what;
	union proto_msg m;
	size_t len;
};

/* After an attach each of these ends the session. */
static const struct malformed malformed[] = {
	{"no magic", {.name = {.h = {.type = PROTO_MSG_BIND}}}, sizeof(struct proto_msg_name)},
	{"another version",
		{.name = {.h = {.magic = PROTO_MAGIC, .version = 99, .type = PROTO_MSG_BIND}}},
		sizeof(struct proto_msg_name)},
	{"an unknown type", {.name = {HEADER(77)}}, sizeof(struct proto_msg_name)},
	{"a type of the daemon's", {.segment = {HEADER(PROTO_MSG_SEGMENT)}},
		sizeof(struct proto_msg_segment)},
	{"a short message", {.name = {HEADER(PROTO_MSG_BIND)}}, sizeof(struct proto_msg_header)},
	{"one byte", {.h = {0}}, 1},
	{"a long message", {.grow = {HEADER(PROTO_MSG_GROW), .bytes = 1}},
		sizeof(struct proto_msg_name)},
	{"a result in a request",
		{.name = {.h = {PROTO_MAGIC, PROTO_VERSION, PROTO_MSG_BIND, 0, 1}}},
		sizeof(struct proto_msg_name)},
	{"an unknown flag", {.name = {HEADER(PROTO_MSG_BIND), .flags = 1u << 31}},
		sizeof(struct proto_msg_name)},
	{"context 2^32 - 1", {.name = {HEADER(PROTO_MSG_LISTEN), .context = UINT32_MAX}},
		sizeof(struct proto_msg_name)},
	{"growth by nothing", {.grow = {HEADER(PROTO_MSG_GROW)}}, sizeof(struct proto_msg_grow)},
	{"growth by 2^64 - 1", {.grow = {HEADER(PROTO_MSG_GROW), .bytes = UINT64_MAX}},
		sizeof(struct proto_msg_grow)},
	{"a second attach", {.attach = {HEADER(PROTO_MSG_ATTACH), .contexts = 1, .name = "again"}},
		sizeof(struct proto_msg_attach)},
};

static int malformed_after_attach(void)
{
	int failed = 0;

	for (size_t i = 0; i < sizeof(malformed) / sizeof(*malformed); i++) {
		struct hostile h;

		hostile_attach(&h);
		send(h.sock, &malformed[i].m, malformed[i].len, MSG_NOSIGNAL);
		failed += hostile_expect(&h, PROTO_CONDEMNED_CONTROL, malformed[i].what);
	}
	return failed;
}

static int huge_message(void)
{
	static const uint8_t bytes[60000] = {'p', 'c', 't', 'm'};
	struct hostile h;

	hostile_attach(&h);
	send(h.sock, bytes, sizeof(bytes), MSG_NOSIGNAL);
	return hostile_expect(&h, PROTO_CONDEMNED_CONTROL, "60,000 bytes");
}

/* As the first message: answered with an error or closed, never attached. */
static int malformed_first(void)
{
	unsigned int taken = 0;
	uint8_t bytes[sizeof(union proto_msg)];

	for (size_t i = 0; i < 200; i++) {
		struct proto_msg_header answer = {.result = -1};
		int sock = hostile_dial();
		size_t len = 1 + hostile_random() % sizeof(bytes);

		for (size_t k = 0; k < len; k++)
			bytes[k] = (uint8_t)hostile_random();
		if (i < sizeof(malformed) / sizeof(*malformed) - 1) {
			len = malformed[i].len;
			memcpy(bytes, &malformed[i].m, len);
		} else if (i % 2) { /* a header that is right, and the rest is not */
			memcpy(bytes, &good_listen, sizeof(struct proto_msg_header));
		}
		send(sock, bytes, len, MSG_NOSIGNAL);
		taken += recv(sock, &answer, sizeof(answer), 0) > 0 && answer.result >= 0;
		close(sock);
	}
	printf("%u of 200 malformed first messages taken\n", taken);
	return taken ? 1 : 0;
}

int case_malformed(void)
{
	return malformed_after_attach() + huge_message() + malformed_first() ? 1 : 0;
}

/* -- floods
 * ---------------------------------------------------------------------------------------- */

static bool request(int sock, const union proto_msg *m, int flags)
{
	return send(sock, m, proto_msg_request_size(m->h.type), flags | MSG_NOSIGNAL) > 0;
}

/* Requests whose answers it never reads. */
int case_unread(void)
{
	const union proto_msg m = {.name = {HEADER(PROTO_MSG_UNBIND)}};
	struct hostile h;

	hostile_attach(&h);
	for (int i = 0; i < 100000; i++)
		if (!request(h.sock, &m, 0))
			break;
	return hostile_expect(&h, PROTO_CONDEMNED_LIMIT, "does not read its answers");
}

/* What costs the daemon most: growth, and names that every engine hears of. Answers are read. */
int case_requests(void)
{
	union proto_msg m[3] = {
		{.grow = {HEADER(PROTO_MSG_GROW), .bytes = UINT64_C(1) << 39}},
		good_listen,
		{.name = {HEADER(PROTO_MSG_UNLISTEN)}},
	};
	uint64_t end_us = hostile_now_us() + HOSTILE_RUN_MS * UINT64_C(1000);
	unsigned int counts[3] = {0}, refused = 0;
	struct hostile h;

	hostile_attach(&h);
	for (unsigned int i = 0; hostile_now_us() < end_us; i++) {
		union proto_msg *now = &m[i % 3], answer;

		if (now->h.type == PROTO_MSG_UNLISTEN && !now->name.listener.gen)
			continue;
		if (!request(h.sock, now, 0))
			break;
		do {
			if (recv(h.sock, &answer, sizeof(answer), 0) <= 0)
				return hostile_expect_alive(&h, "asks without end") || 1;
		} while (answer.h.type == PROTO_MSG_SEGMENT); /* its descriptor is dropped */
		counts[i % 3]++;
		refused += answer.h.result < 0;
		if (now->h.type == PROTO_MSG_LISTEN && answer.h.result == 0)
			m[2].name.listener = answer.name.listener;
	}
	printf("%u growths, %u listens, %u unlistens, %u of them refused\n", counts[0], counts[1],
		counts[2], refused);
	return hostile_expect_alive(&h, "asks without end");
}

/* -- crashes -------------------------------------------------------------------------------------
 */

/* A life in three lengths: attached, with a connection, with bytes on their way. */
static void live_and_crash(unsigned int i)
{
	struct hostile h;

	hostile_attach(&h);
	if (i % 3) {
		struct proto_handle sk = hostile_connect(&h);

		if (i % 3 == 2)
			hostile_send(&h, sk, 0, 60000);
	}
	raise(SIGKILL);
}

int case_crashes(void)
{
	const char *times = getenv("CRASHES");
	unsigned int n = times ? (unsigned int)atoi(times) : 1000, crashed = 0;
	uint64_t start_us = hostile_now_us();

	for (unsigned int i = 0; i < n; i++) {
		pid_t child = fork();
		int status = 0;

		if (child == 0)
			live_and_crash(i);
		if (child > 0 && waitpid(child, &status, 0) == child)
			crashed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	}
	printf("%u of %u attached and crashed, %.1f s\n", crashed, n,
		(double)(hostile_now_us() - start_us) / 1e6);
	return crashed == n ? 0 : 1;
}

/* Connections that never say a word, until no more are taken; then it waits for the daemon to
 * lose its patience with the first. */
int case_lingerers(void)
{
	enum { MANY = 300 };
	struct proto_msg_header answer;
	unsigned int closed = 0, refused = 0;
	int fds[MANY];

	for (int i = 0; i < MANY; i++) {
		fds[i] = hostile_dial();
		refused += recv(fds[i], &answer, sizeof(answer), MSG_DONTWAIT) > 0;
	}
	for (int i = 0; i < MANY; i++) {
		ssize_t n;

		while ((n = recv(fds[i], &answer, sizeof(answer), 0)) > 0)
			refused++;
		closed += n == 0 || errno == ECONNRESET;
		close(fds[i]);
	}
	printf("%d that say nothing: %u refused at once, %u closed\n", (int)MANY, refused, closed);
	return closed == MANY && refused > 0 ? 0 : 1;
}
