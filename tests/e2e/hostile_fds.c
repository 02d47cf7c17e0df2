/* Cases that abuse the descriptors that the daemon gave away. */
#include "hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	FD_DOWN,
	FD_UP,
	HUGE_PAGE = 2 << 20,
	DRAIN_MAX = 4096, /* huge pages */
};

/* -- holes
 * ------------------------------------------------------------------------------------------ */

static void punch(int fd, uint64_t len)
{
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)len))
		hostile_die("punch");
}

/* Rings and payload at once; the engine looks at its submission ring when it is rung for. */
static int hole_everywhere(const char *what)
{
	struct hostile h;

	hostile_attach(&h);
	punch(h.fds[FD_DOWN], h.a.down_bytes);
	shm_doorbell_event_ring(hostile_event_fd(&h));
	return hostile_expect(&h, PROTO_CONDEMNED_HOLE, what);
}

/* A whole segment of payload, so that there is a hole also where pages are large: it is found
 * when the payload is to be sent. */
static int hole_in_payload(const char *what)
{
	struct proto_slot s = {.head = PROTO_OP_SEND};
	struct hostile h;
	uint64_t bytes;
	int fd;

	hostile_attach(&h);
	s.body.send.handle = hostile_connect(&h);
	fd = hostile_grow(&h, &s.body.send.ref, &bytes);
	punch(fd, bytes);
	s.body.send.len_bytes = 8192;
	hostile_push(&h, &s);
	close(fd);
	return hostile_expect(&h, PROTO_CONDEMNED_HOLE, what);
}

int case_holes(void)
{
	return hole_everywhere("holes everywhere") | hole_in_payload("holes in the payload");
}

/* Takes every huge page there is, so that a hole cannot be filled any more. */
static unsigned int drain_pool(void)
{
	int fd = memfd_create("drain", MFD_HUGETLB | MFD_HUGE_2MB);
	unsigned int n = 0;

	if (fd < 0 || ftruncate(fd, (off_t)DRAIN_MAX * HUGE_PAGE))
		return 0;
	while (n < DRAIN_MAX && !fallocate(fd, 0, (off_t)n * HUGE_PAGE, HUGE_PAGE))
		n++;
	return n;
}

int case_holes_drained(void)
{
	struct hostile h;

	hostile_attach(&h);				 /* before the pool is empty */
	printf("%u huge pages drained\n", drain_pool()); /* sessions get plain ones from now on */
	punch(h.fds[FD_DOWN], h.a.down_bytes);
	drain_pool(); /* and those that this gave back */
	shm_doorbell_event_ring(hostile_event_fd(&h));
	return hostile_expect(&h, PROTO_CONDEMNED_HOLE, "holes, and no page to fill them") |
	       hole_everywhere("holes everywhere") | hole_in_payload("holes in the payload");
}

/* -- what must not be possible
 * --------------------------------------------------------------------- */

static int possible(const char *what, bool is)
{
	if (is)
		printf("it is possible to %s\n", what);
	return is;
}

static bool reopens(int fd, int flags)
{
	char path[64];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, flags);
	if (again >= 0)
		close(again);
	return again >= 0;
}

static bool maps(int fd, size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p != MAP_FAILED)
		munmap(p, len);
	return p != MAP_FAILED;
}

int case_read_only(void)
{
	const int punch_mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	struct hostile h;
	int up, down, n;

	hostile_attach(&h);
	up = h.fds[FD_UP];
	down = h.fds[FD_DOWN];
	n = possible("map `up` writable", maps(up, h.a.up_bytes));
	n += possible("mprotect `up`", !mprotect(h.up.base, h.a.up_bytes, PROT_READ | PROT_WRITE));
	n += possible("open `up` anew for writing", reopens(up, O_RDWR));
	n += possible("punch `up`", !fallocate(up, punch_mode, 0, HUGE_PAGE));
	n += possible("write `up`", pwrite(up, "x", 1, 0) == 1);
	n += possible("resize `up`", !ftruncate(up, 0));
	n += possible("chmod `up`", !fchmod(up, 0777));
	n += possible("shrink `down`", !ftruncate(down, 4096));
	n += possible("grow `down`", !ftruncate(down, (off_t)h.a.down_bytes * 2));
	n += possible("seal `down`", !fcntl(down, F_ADD_SEALS, F_SEAL_WRITE));
	n += possible("send into the doorbell",
		send(hostile_bell_fd(&h), "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1);
	return hostile_expect_alive(&h, "cannot do what it must not") || n;
}

/* -- jammed, closed, passed on
 * ---------------------------------------------------------------------- */

static void make_blocking(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
}

/* Blocking, so only when its counter is known. */
static void event_add(int event, uint64_t value)
{
	if (write(event, &value, sizeof(value)) < 0)
		hostile_die("eventfd");
}

static void event_empty(int event)
{
	uint64_t drop;

	if (read(event, &drop, sizeof(drop)) < 0)
		hostile_die("eventfd");
}

static void jam(struct hostile *h)
{
	int bell = hostile_bell_fd(h);

	for (unsigned int i = 0; i < h->fd_count; i++)
		make_blocking(h->fds[i]);
	signal(SIGIO, SIG_IGN);
	fcntl(bell, F_SETOWN, getpid());
	fcntl(bell, F_SETFL, fcntl(bell, F_GETFL) | O_ASYNC);
}

/* Every descriptor blocking and as full as it gets: the eventfd whenever it has been rung, the
 * doorbell because it is never drained. */
int case_jammed(void)
{
	struct hostile h;
	bool works = true;
	int event;

	hostile_attach(&h);
	event = hostile_event_fd(&h);
	jam(&h);
	for (int i = 0; i < 5000 && works; i++) {
		struct proto_slot s = {.head = PROTO_OP_INFO};

		shm_sleep_announce(hostile_sleeping(&h));
		works = hostile_push(&h, &s);
		event_add(event, 1); /* it may have been rung or not */
		event_empty(event);
		event_add(event, UINT64_MAX - 1);
		works = works && hostile_await(&h, PROTO_EV_RESULT, &s);
		usleep(100);
		event_empty(event);
	}
	printf("descriptors jammed, answers %s\n", works ? "came" : "did not come");
	return hostile_expect_alive(&h, "jams its descriptors") || !works;
}

/* All but the socket are closed, in the middle of traffic; then the socket too. */
int case_closed(void)
{
	struct proto_handle sk;
	struct hostile h;

	hostile_attach(&h);
	sk = hostile_connect(&h);
	shm_sleep_announce(hostile_sleeping(&h));
	for (unsigned int i = 0; i < h.fd_count; i++)
		close(h.fds[i]);
	h.fd_count = 0;
	for (uint64_t i = 0; i < 100; i++) {
		struct proto_slot s = {.head = PROTO_OP_SEND};
		struct shm_slot_copy raw;

		s.body.send = (struct proto_send){.handle = sk, .pos = i * 64, .len_bytes = 64};
		hostile_payload(&h, &s.body.send.ref);
		memcpy(raw.word, &s, sizeof(s));
		shm_ring_prod_push(&h.subs, &raw); /* nobody is rung for */
		if (i == 50)
			close(h.sock);
		usleep(1000);
	}
	printf("closed its descriptors\n");
	return 0;
}

static void send_fds(int sock, const int *fds, unsigned int n)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(253 * sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = "x", .iov_len = 1};
	struct msghdr m = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_SPACE(n * sizeof(int))};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	if (sendmsg(sock, &m, MSG_NOSIGNAL) < 0)
		hostile_die("pass descriptors on");
}

/* A child attaches, gives everything that it has to the parent, and dies. The parent holds the
 * descriptors, socket included: the session must be gone all the same. */
int case_passed_on(void)
{
	int pair[2], status;
	struct hostile h = {0};
	pid_t child;
	char byte;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair))
		hostile_die("socketpair");
	child = fork();
	if (child == 0) {
		hostile_attach(&h);
		hostile_connect(&h);
		h.fds[h.fd_count++] = h.sock;
		send_fds(pair[1], h.fds, h.fd_count);
		hostile_await(&h, PROTO_EV_COUNT, &(struct proto_slot){0}); /* waits in vain */
		_exit(0);
	}
	if (recv(pair[0], &byte, 1, MSG_PEEK) != 1)
		hostile_die("receive descriptors"); /* they stay in flight, which is as good */
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	printf("dead, its descriptors in flight to pid %d\n", getpid());
	fflush(stdout);
	usleep(HOSTILE_RUN_MS * 1000);
	return 0;
}

/* -- messages with descriptors
 * ---------------------------------------------------------------------- */

static void send_with_fds(int sock, const void *msg, size_t len)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(253 * sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)msg, .iov_len = len};
	struct msghdr m = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(253 * sizeof(int));
	for (int i = 0; i < 253; i++)
		memcpy(CMSG_DATA(c) + (size_t)i * sizeof(int), &sock, sizeof(sock));
	if (sendmsg(sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN &&
		errno != ETOOMANYREFS)
		hostile_die("send with descriptors");
}

/* Legal requests, each with as many descriptors as fit, one of them the socket itself. The script
 * counts the daemon's. */
int case_messages_with_fds(void)
{
	struct proto_msg_name m = {
		.h = {.magic = PROTO_MAGIC, .version = PROTO_VERSION, .type = PROTO_MSG_UNBIND}};
	struct proto_msg_attach first = {
		.h = {.magic = PROTO_MAGIC, .version = PROTO_VERSION, .type = PROTO_MSG_ATTACH},
		.contexts = 1,
		.name = "hostile fds",
	};
	union proto_msg answer;
	unsigned int answered = 0;
	struct hostile h;
	int sock = hostile_dial();

	send_with_fds(sock, &first, sizeof(first));
	if (recv(sock, &answer, sizeof(answer), 0) < 0)
		hostile_die("attach with descriptors");
	close(sock);
	hostile_attach(&h);
	for (int i = 0; i < 50; i++) {
		send_with_fds(h.sock, &m, sizeof(m));
		answered += recv(h.sock, &answer, sizeof(answer), 0) == sizeof(m);
	}
	printf("%u of 50 requests with descriptors answered\n", answered);
	return hostile_expect_alive(&h, "sends descriptors") || answered != 50;
}
