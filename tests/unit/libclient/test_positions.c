/* Long streams: the library keeps low halves of positions, which come round. */
#include <libclient/client.h>

#include "fake_daemon.h"

#include <sys/ioctl.h>

/* Both sides of an idle connection come to believe that `pos` bytes went each way. */
static void move_to(int sd, uint64_t pos)
{
	struct sock *s = sock_at((uint32_t)sd);
	struct fake_sock *other = NULL;

	fake->paused = false;
	fake->pause = true;
	while (!fake->paused)
		usleep(100);
	ctx_drain_all(true);
	for (size_t i = 0; i < FAKE_SOCKS; i++)
		if (fake->sock[i].used && fake->sock[i].cookie == (uint32_t)sd)
			other = &fake->sock[i];
	assert_non_null(other);
	other->acked = other->snd_end = pos;
	other->received = other->told = other->consumed = pos;
	atomic_store(&s->snd_pos, pos);
	atomic_store(&s->rcv_pos, pos);
	s->consumed_low = (uint32_t)pos;
	atomic_store(&s->ev.acked_low, (uint32_t)pos);
	atomic_store(&s->ev.received_low, (uint32_t)pos);
	fake->pause = false;
}

static void check_bytes(const uint8_t *b, size_t n, uint64_t pos)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(b[i], fake_byte(pos + i));
}

/* Writes and reads 2 MiB as they come, the border somewhere in the first. */
static void echo_past(uint64_t border)
{
	enum { TOTAL = 2 << 20, BEFORE = 300001 };
	int sd = fake_connected(FAKE_ECHO, SOCK_NONBLOCK), unread;
	uint64_t sent = 0, got = 0;
	unsigned int seed = 11;
	uint8_t buf[70000];
	ssize_t rc;

	move_to(sd, border - BEFORE);
	while (got < TOTAL) {
		struct pollfd p = {.fd = sd, .events = POLLIN | (sent < TOTAL ? POLLOUT : 0)};
		size_t n = 1 + (size_t)rand_r(&seed) % sizeof(buf);

		assert_int_equal(mtcp_poll(&p, 1, 10000), 1);
		n = n < TOTAL - sent ? n : TOTAL - sent;
		for (size_t i = 0; i < n; i++)
			buf[i] = fake_byte(sent + i);
		rc = n ? mtcp_send(sd, buf, n, MSG_NOSIGNAL) : 0;
		assert_true(rc >= 0 || errno == EAGAIN);
		sent += rc > 0 ? (uint64_t)rc : 0;
		rc = mtcp_recv(sd, buf, 1 + (size_t)rand_r(&seed) % sizeof(buf), 0);
		assert_true(rc > 0 || (rc < 0 && errno == EAGAIN));
		check_bytes(buf, rc > 0 ? (size_t)rc : 0, got);
		got += rc > 0 ? (uint64_t)rc : 0;
	}
	assert_int_equal(mtcp_ioctl(sd, FIONREAD, &unread), 0);
	assert_int_equal(unread, 0);
	assert_int_equal(mtcp_close(sd), 0);
	assert_true(fake_is_clean(fake));
}

static void test_echo_given_four_gigabytes_before_expected_same_bytes(void **state)
{
	(void)state;
	fake->budget = 20000;
	echo_past(UINT64_C(1) << 32);
}

static void test_echo_given_two_gigabytes_before_expected_same_bytes(void **state)
{
	(void)state;
	fake->budget = 20000;
	echo_past(UINT64_C(1) << 31);
}

/* GONE says 0 for what was acknowledged, which is past 3 GiB in this arithmetic. */
static void test_close_given_three_gigabytes_acked_expected_clean_end(void **state)
{
	int sd = fake_connected(FAKE_ECHO, 0);
	char c = 'x';

	(void)state;
	move_to(sd, UINT64_C(3) << 30);
	assert_int_equal(mtcp_send(sd, &c, 1, 0), 1);
	assert_int_equal(mtcp_recv(sd, &c, 1, 0), 1);
	assert_int_equal(c, 'x');
	assert_int_equal(mtcp_close(sd), 0);
	assert_true(fake_is_clean(fake));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
	const struct CMUnitTest tests[] = {
		T(test_echo_given_four_gigabytes_before_expected_same_bytes),
		T(test_echo_given_two_gigabytes_before_expected_same_bytes),
		T(test_close_given_three_gigabytes_acked_expected_clean_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
