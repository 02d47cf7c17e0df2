/* Doorbells: they wake, they never block the one who rings, whatever a client does. */
#include "support.h"

#include <shm/doorbell.h>

#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

enum {
	HANG_S = 300, /* what takes so long hangs, however busy the machine */
};

static bool readable(int fd, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, timeout_ms) == 1 && p.revents == POLLIN;
}

static void open_pipe(int fds[2])
{
	assert_int_equal(shm_doorbell_pipe(fds), 0);
}

static void close_pipe(int fds[2])
{
	close(fds[0]);
	close(fds[1]);
}

static void test_doorbell_rung_is_readable_until_drained(void **state)
{
	int fds[2];

	(void)state;
	open_pipe(fds);
	assert_true(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(fds[1], F_GETFD) & FD_CLOEXEC);
	for (int i = 0; i < 3; i++) {
		assert_false(readable(fds[0], 0));
		shm_doorbell_pipe_drain(fds[0]); /* nothing there: must not block */
		shm_doorbell_pipe_ring(fds[1]);
		shm_doorbell_pipe_ring(fds[1]);
		assert_true(readable(fds[0], 0));
		shm_doorbell_pipe_drain(fds[0]);
	}
	close_pipe(fds);
}

static void test_doorbell_full_never_blocks_and_drains_empty(void **state)
{
	int fds[2];

	(void)state;
	open_pipe(fds);
	alarm(HANG_S);
	for (int i = 0; i < 20000; i++)
		shm_doorbell_pipe_ring(fds[1]);
	alarm(0);
	assert_true(readable(fds[0], 0));
	shm_doorbell_pipe_drain(fds[0]);
	assert_false(readable(fds[0], 0));
	shm_doorbell_pipe_ring(fds[1]);
	assert_true(readable(fds[0], 0));
	close_pipe(fds);
}

static void test_doorbell_reader_gone_is_ignored(void **state)
{
	int fds[2];

	(void)state;
	open_pipe(fds);
	shm_doorbell_pipe_ring(fds[1]);
	close(fds[0]);
	shm_doorbell_pipe_ring(fds[1]); /* SIGPIPE would end the test */
	close(fds[1]);
}

static void test_doorbell_writer_gone_is_end_of_file(void **state)
{
	int fds[2];
	char c;

	(void)state;
	open_pipe(fds);
	shm_doorbell_pipe_ring(fds[1]);
	close(fds[1]);
	assert_int_equal(read(fds[0], &c, 1), 1);
	assert_int_equal(read(fds[0], &c, 1), 0);
	shm_doorbell_pipe_drain(fds[0]);
	close(fds[0]);
}

static void test_doorbell_client_cannot_send_into_it(void **state)
{
	int fds[2];
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {.iov_base = control, .iov_len = 1};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	(void)state;
	open_pipe(fds);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fds[0], sizeof(int));
	assert_int_equal(send(fds[0], "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(sendmsg(fds[0], &msg, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(shutdown(fds[0], SHUT_RDWR), 0);
	shm_doorbell_pipe_ring(fds[1]); /* nor make it raise SIGPIPE */
	close_pipe(fds);
}

/* A page whose faults never end, as FUSE can give one to any user. NULL if there is none. */
static void *endless_page(int *uffd)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_MISSING};
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (*uffd < 0)
		return NULL;
	reg.range.start = (uintptr_t)page;
	reg.range.len = 4096;
	if (ioctl(*uffd, UFFDIO_API, &api) || ioctl(*uffd, UFFDIO_REGISTER, &reg))
		return NULL;
	return page;
}

struct stuck_reader {
	int fd;
	int uffd;
	void *page;
};

static void *read_for_ever(void *arg)
{
	struct stuck_reader *r = arg;

	(void)!read(r->fd, r->page, 4096);
	return NULL;
}

/* Waits for the reader's page fault, which it takes inside read(). */
static void wait_stuck(struct stuck_reader *r)
{
	struct uffd_msg msg;

	assert_true(readable(r->uffd, 10000));
	assert_int_equal(read(r->uffd, &msg, sizeof(msg)), sizeof(msg));
	assert_int_equal(msg.event, UFFD_EVENT_PAGEFAULT);
}

static void release_stuck(struct stuck_reader *r)
{
	struct uffdio_zeropage zero = {.range = {.start = (uintptr_t)r->page, .len = 4096}};

	assert_int_equal(ioctl(r->uffd, UFFDIO_ZEROPAGE, &zero), 0);
}

static void test_doorbell_reader_stuck_in_fault_blocks_nobody(void **state)
{
	struct stuck_reader r;
	pthread_t thread;
	int fds[2];

	(void)state;
	r.page = endless_page(&r.uffd);
	if (!r.page) {
		print_message("userfaultfd for the kernel's faults is not permitted here\n");
		skip();
	}
	open_pipe(fds);
	r.fd = fds[0];
	assert_int_equal(pthread_create(&thread, NULL, read_for_ever, &r), 0);
	shm_doorbell_pipe_ring(fds[1]);
	wait_stuck(&r);
	alarm(HANG_S);
	for (int i = 0; i < 1000; i++)
		shm_doorbell_pipe_ring(fds[1]);
	alarm(0);
	release_stuck(&r);
	assert_int_equal(pthread_join(thread, NULL), 0);
	close(r.uffd);
	munmap(r.page, 4096);
	close_pipe(fds);
}

static int watch(int fd)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	int ep = epoll_create1(EPOLL_CLOEXEC);

	assert_true(ep >= 0);
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev), 0);
	return ep;
}

static void test_doorbell_event_unread_wakes_each_time(void **state)
{
	int fd = shm_doorbell_event();
	struct epoll_event ev;
	int ep = watch(fd);

	(void)state;
	assert_true(fd >= 0);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(epoll_wait(ep, &ev, 1, 0), 0);
		shm_doorbell_event_ring(fd);
		shm_doorbell_event_ring(fd);
		assert_int_equal(epoll_wait(ep, &ev, 1, 1000), 1);
	}
	close(ep);
	close(fd);
}

static void test_doorbell_event_jammed_by_client_harms_only_it(void **state)
{
	const uint64_t most = UINT64_MAX - 1;
	int fd = shm_doorbell_event();
	struct epoll_event ev;
	int ep = watch(fd);

	(void)state;
	assert_int_equal(write(fd, &most, sizeof(most)), sizeof(most));
	shm_doorbell_event_ring(fd); /* full: refused, not blocked */
	assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
	alarm(HANG_S);
	assert_int_equal(epoll_wait(ep, &ev, 1, 1000), 1);
	assert_int_equal(epoll_wait(ep, &ev, 1, 10), 0); /* the engine does not spin on it */
	alarm(0);
	close(ep);
	close(fd);
}

static void test_doorbell_sleep_is_rung_once(void **state)
{
	_Atomic uint32_t flag = 0;
	uint32_t rung = 0, other = 0;

	(void)state;
	assert_false(shm_sleep_check_once(&flag, &rung));
	for (unsigned int nap = 0; nap < 3; nap++) {
		shm_sleep_announce(&flag);
		assert_true(shm_sleep_check(&flag));
		assert_true(shm_sleep_check_once(&flag, &rung));
		assert_false(shm_sleep_check_once(&flag, &rung));
		assert_true(shm_sleep_check_once(&flag, &other)); /* each waker for itself */
		shm_sleep_cancel(&flag);
		assert_false(shm_sleep_check(&flag));
		assert_false(shm_sleep_check_once(&flag, &rung));
	}
}

static void test_doorbell_sleep_said_twice_is_another_and_cancel_repeats(void **state)
{
	_Atomic uint32_t flag = UINT32_MAX - 3; /* even, and about to wrap */
	uint32_t rung = 0;

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		shm_sleep_announce(&flag);
		assert_true(shm_sleep_check_once(&flag, &rung));
	}
	shm_sleep_cancel(&flag);
	shm_sleep_cancel(&flag);
	assert_false(shm_sleep_check(&flag));
}

/* -- the sleep handshake, with both sides at full speed --------------------------------------- */

enum {
	HANDSHAKES = 20000,
	LOST_MS = 60000, /* a wake-up that takes this long was lost */
};

struct channel {
	_Atomic uint32_t work;
	_Atomic uint32_t sleeping;
	uint32_t rung; /* the poster's */
	int fds[2];
};

static void post(struct channel *ch, uint32_t n)
{
	atomic_store_explicit(&ch->work, n, memory_order_release);
	if (shm_sleep_check_once(&ch->sleeping, &ch->rung))
		shm_doorbell_pipe_ring(ch->fds[1]);
}

static bool await(struct channel *ch, uint32_t n)
{
	while (atomic_load_explicit(&ch->work, memory_order_acquire) < n) {
		bool woken = true;

		shm_sleep_announce(&ch->sleeping);
		if (atomic_load_explicit(&ch->work, memory_order_acquire) < n)
			woken = readable(ch->fds[0], LOST_MS);
		shm_sleep_cancel(&ch->sleeping);
		if (!woken)
			return false;
		shm_doorbell_pipe_drain(ch->fds[0]);
	}
	return true;
}

static void *pong(void *arg)
{
	struct channel *ch = arg;

	for (uint32_t i = 1; i <= HANDSHAKES; i++) {
		if (!await(&ch[0], i))
			return (void *)"lost a wake-up";
		post(&ch[1], i);
	}
	return NULL;
}

static void test_doorbell_handshake_loses_no_wakeup(void **state)
{
	static struct channel ch[2];
	pthread_t thread;
	void *complaint;

	(void)state;
	open_pipe(ch[0].fds);
	open_pipe(ch[1].fds);
	assert_int_equal(pthread_create(&thread, NULL, pong, ch), 0);
	for (uint32_t i = 1; i <= HANDSHAKES; i++) {
		post(&ch[0], i);
		assert_true(await(&ch[1], i));
	}
	assert_int_equal(pthread_join(thread, &complaint), 0);
	assert_null(complaint);
	close_pipe(ch[0].fds);
	close_pipe(ch[1].fds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_doorbell_rung_is_readable_until_drained),
		cmocka_unit_test(test_doorbell_full_never_blocks_and_drains_empty),
		cmocka_unit_test(test_doorbell_reader_gone_is_ignored),
		cmocka_unit_test(test_doorbell_writer_gone_is_end_of_file),
		cmocka_unit_test(test_doorbell_client_cannot_send_into_it),
		cmocka_unit_test(test_doorbell_reader_stuck_in_fault_blocks_nobody),
		cmocka_unit_test(test_doorbell_event_unread_wakes_each_time),
		cmocka_unit_test(test_doorbell_event_jammed_by_client_harms_only_it),
		cmocka_unit_test(test_doorbell_sleep_is_rung_once),
		cmocka_unit_test(test_doorbell_sleep_said_twice_is_another_and_cancel_repeats),
		cmocka_unit_test(test_doorbell_handshake_loses_no_wakeup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
