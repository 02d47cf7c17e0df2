/* Requests that fail half-way, at each call that can: answered, and nothing left behind. */
#include "server_fixture.h"

#include "../faults.h"

enum {
	PORT = 8080,
	SWEEP_MAX = 200,
};

static int session_fd;

static int setup_session(void **state)
{
	struct received r;

	setup(state);
	log_fd_set(open("/dev/null", O_WRONLY | O_CLOEXEC));
	fx.cfg.limits.session_down_bytes = fx.cfg.limits.session_up_bytes = 1 << 30;
	assert_int_equal(client_attach(&session_fd, &r), 0);
	client_close(&r);
	return 0;
}

static int teardown_session(void **state)
{
	close(session_fd);
	run_us(20000);
	assert_int_equal(fx.server->sessions.count, 0);
	assert_int_equal(fx.server->fds_used, 0);
	log_fd_set(2);
	return teardown(state);
}

static struct ctl_session *session(void)
{
	uint32_t cursor = 0;

	return ctl_session_next(&fx.server->sessions, &cursor);
}

/* The answer to m with the n-th call failing, segments announced on the way taken. */
static int request_with_fault(const union proto_msg *m, unsigned int n, struct received *r)
{
	fault_arm(n);
	client_call(session_fd, m, proto_msg_request_size(m->h.type), r);
	while (r->len > 0 && r->m.h.type == PROTO_MSG_SEGMENT) {
		client_close(r);
		client_call(session_fd, NULL, 0, r);
	}
	fault_end();
	assert_int_equal(r->len, proto_msg_request_size(m->h.type)); /* an answer, no silence */
	assert_int_equal(r->m.h.type, m->h.type);
	return r->m.h.result;
}

static void test_listen_given_any_call_failing_is_undone(void **state)
{
	union proto_msg m = client_msg(PROTO_MSG_LISTEN);
	unsigned int n = 1, failed = 0;
	struct received r;

	(void)state;
	m.name.port = PORT;
	for (;; n++) {
		int result = request_with_fault(&m, n, &r);

		if (!fault.fired_name)
			break;
		assert_true(n < SWEEP_MAX);
		if (result == 0) { /* what failed could be done without */
			r.m.h.type = PROTO_MSG_UNLISTEN;
			assert_int_equal(client_request(session_fd, &r.m, &r), 0);
		} else {
			assert_int_equal(result, -ENOMEM);
			failed++;
		}
		assert_int_equal(fx.port_owner[PORT], 0);
		assert_int_equal(fake_engine[0].listeners + fake_engine[1].listeners, 0);
		assert_int_equal(session()->names.names, 0);
	}
	assert_int_equal(r.m.h.result, 0);
	assert_int_equal(fake_engine[0].listeners + fake_engine[1].listeners, 2);
	assert_true(failed >= 4); /* name, message, operation, a copy for each engine */
}

/* Until the engines are told, an unlisten that failed can be repeated. */
static void test_unlisten_given_no_memory_can_be_repeated(void **state)
{
	union proto_msg m = client_msg(PROTO_MSG_LISTEN);
	struct received r;

	(void)state;
	m.name.port = PORT;
	assert_int_equal(client_request(session_fd, &m, &r), 0);
	m = r.m;
	m.h.type = PROTO_MSG_UNLISTEN;
	for (unsigned int n = 1; n <= 2; n++) { /* the message, the operation */
		fault_arm_only("calloc", n);
		assert_int_equal(client_request(session_fd, &m, &r), -ENOMEM);
		assert_string_equal(fault_end(), "calloc");
		assert_int_not_equal(fx.port_owner[PORT], 0);
		assert_false(session()->busy);
	}
	assert_int_equal(client_request(session_fd, &m, &r), 0);
	assert_int_equal(fx.port_owner[PORT], 0);
	assert_int_equal(fake_engine[0].listeners + fake_engine[1].listeners, 0);
	assert_int_equal(client_request(session_fd, &m, &r), -ENOENT);
	assert_false(session()->busy);
}

static void test_grow_given_any_call_failing_is_answered(void **state)
{
	union proto_msg m = client_msg(PROTO_MSG_GROW);
	unsigned int failed = 0;
	struct received r;

	(void)state;
	m.grow.bytes = 4096;
	for (unsigned int n = 1;; n++) {
		uint64_t before = session()->down_bytes;
		int result = request_with_fault(&m, n, &r);

		if (result < 0) {
			assert_int_equal(result, -ENOMEM);
			failed++;
		}
		assert_in_range(session()->down_bytes - before, 0, 2 << 20);
		assert_false(session()->busy);
		if (!fault.fired_name)
			break;
		assert_true(n < SWEEP_MAX);
	}
	assert_int_equal(r.m.h.result, 0);
	assert_true(failed >= 4);
}

/* An engine that asked for `up` memory and cannot have it: the session lives, and may ask again. */
static void test_need_up_given_any_call_failing_leaves_the_session_alive(void **state)
{
	const char *fired;
	unsigned int n = 1;

	(void)state;
	do {
		struct received r;

		fake_engine[0].last_segment.bytes = 0;
		fake_note(&fake_engine[0], ENGINE_NOTE_NEED_UP, session()->id, 4096);
		fault_arm(n);
		server_engines_posted(fx.server);
		fired = fault_end();
		run_us(2000);
		assert_int_equal(session()->state, SESSION_LIVE);
		client_receive(session_fd, &r, MSG_DONTWAIT);
		client_close(&r);
	} while (fired && ++n < SWEEP_MAX);
	assert_in_range(n, 5, SWEEP_MAX - 1);
	assert_int_equal(fake_engine[0].last_segment.bytes, 2 << 20);
}

/* An engine that refuses a further segment: the client hears of it, and goes on with what it has.
 */
static void test_grow_refused_by_an_engine_is_told(void **state)
{
	union proto_msg m = client_msg(PROTO_MSG_GROW);
	struct received r;

	(void)state;
	m.grow.bytes = 4096;
	fake_engine[1].segment_result = -ENOMEM;
	assert_int_equal(client_request(session_fd, &m, &r), -ENOMEM);
	fake_note(&fake_engine[1], ENGINE_NOTE_NEED_UP, session()->id, 4096);
	run_us(2000);
	assert_int_equal(session()->state, SESSION_LIVE);
	fake_engine[1].segment_result = 0;
	client_receive(session_fd, &r, MSG_DONTWAIT); /* `up`, announced before it was refused */
	assert_int_equal(r.m.h.type, PROTO_MSG_SEGMENT);
	client_close(&r);
	assert_int_equal(request_with_fault(&m, 0, &r), 0);
}

/* The session ends while its request is with the engines: their answers meet nobody. */
static void test_listen_given_death_meanwhile_answers_nobody(void **state)
{
	union proto_msg m = client_msg(PROTO_MSG_LISTEN);

	(void)state;
	m.name.port = PORT;
	assert_int_equal(send(session_fd, &m, sizeof(m.name), 0), sizeof(m.name));
	assert_int_equal(loop_run_once(fx.loop, 1000), 0); /* posted, not executed */
	assert_true(session()->busy);
	close(session_fd);
	session_fd = -1;
	assert_int_equal(loop_run_once(fx.loop, 1000), 0);
	assert_int_equal(session()->state, SESSION_LEAVING);
	assert_int_equal(fx.port_owner[PORT], 0);
	fake_engine[1].listen_result = -ENOMEM;
	run_us(5000);
	assert_int_equal(fx.server->sessions.count, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup_session, teardown_session)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_listen_given_any_call_failing_is_undone),
		T(test_unlisten_given_no_memory_can_be_repeated),
		T(test_grow_given_any_call_failing_is_answered),
		T(test_need_up_given_any_call_failing_leaves_the_session_alive),
		T(test_grow_refused_by_an_engine_is_told),
		T(test_listen_given_death_meanwhile_answers_nobody),
	};

	return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
