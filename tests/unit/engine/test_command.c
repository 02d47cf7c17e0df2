/* Commands of the main thread: bounded, answered in order, and refused where memory fails. */
#include "fixture.h"

#include "../faults.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum {
	PER_TURN = 16,
	SWEEP_MAX = 100,
};

/* An engine beside those of the world: its rings are those of `here`, which stay untouched. */
static struct engine *lone;

static int setup(void **state)
{
	struct engine_config cfg;

	fixture_setup(state);
	cfg = engine_of(0)->cfg;
	cfg.limits.sessions_max = 2;
	return engine_create(&lone, &cfg, f.w.now_us);
}

static int teardown(void **state)
{
	engine_destroy(lone);
	return fixture_teardown(state);
}

static struct engine_msg *message(int type)
{
	struct engine_msg *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->type = (enum engine_msg_type)type;
	return m;
}

/* Posts it, lets the engine take it with the n-th call failing (0: none), returns its result. */
static int execute(struct engine_msg *m, unsigned int nth)
{
	struct engine_msg *back;
	int result;

	engine_post(lone, m);
	fault_arm(nth);
	command_run(lone);
	fault_end();
	back = engine_take(lone);
	assert_ptr_equal(back, m);
	result = m->result;
	free(m);
	return result;
}

static struct engine_msg *session_message(uint32_t id)
{
	struct engine_msg *m = message(ENGINE_CMD_SESSION_ADD);

	m->session = engine_of(0)->sessions[0]->desc;
	m->session.session = id;
	return m;
}

static struct engine_msg *listen_message(uint16_t port)
{
	struct engine_msg *m = message(ENGINE_CMD_LISTEN_ADD);

	m->listen = (struct engine_listen_desc){
		.session = 77, .handle = {.idx = port, .gen = 1}, .port = port, .backlog = 8};
	return m;
}

static unsigned int fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void test_command_given_unknown_type_refuses(void **state)
{
	(void)state;
	assert_int_equal(execute(message(ENGINE_MSG_COUNT), 0), -EINVAL);
	assert_int_equal(execute(message(-1), 0), -EINVAL);
	assert_int_equal(execute(message(ENGINE_NOTE_SESSION_GONE), 0), -EINVAL);
}

static void test_command_given_many_executes_some_each_turn_in_order(void **state)
{
	struct engine_msg *m[2 * PER_TURN + 1];

	(void)state;
	for (int i = 0; i < 2 * PER_TURN + 1; i++) {
		m[i] = message(ENGINE_CMD_SESSION_DEL);
		engine_post(lone, m[i]);
	}
	assert_false(engine_sleep_prepare(lone));
	assert_false(engine_posted(lone));
	assert_int_equal(command_run(lone), PER_TURN);
	assert_true(engine_posted(lone)); /* once for all of them */
	assert_false(engine_posted(lone));
	assert_int_equal(command_run(lone), PER_TURN);
	assert_int_equal(command_run(lone), 1);
	assert_true(command_empty(lone));
	for (int i = 0; i < 2 * PER_TURN + 1; i++) {
		assert_ptr_equal(engine_take(lone), m[i]);
		free(m[i]);
	}
	assert_null(engine_take(lone));
}

static void test_session_given_any_call_failing_is_refused_whole(void **state)
{
	unsigned int n = 1, before = fds();

	(void)state;
	for (;; n++) {
		int result = execute(session_message(77), n);

		if (!fault.fired_name)
			break;
		assert_true(n < SWEEP_MAX);
		assert_int_equal(result, -ENOMEM);
		assert_null(session_find(lone, 77));
		assert_int_equal(lone->session_count, 0);
	}
	assert_int_equal(n, 4); /* session, rings and chunks */
	assert_non_null(session_find(lone, 77));
	assert_int_equal(fds(), before);
}

static void test_session_given_twice_or_too_many_is_refused(void **state)
{
	(void)state;
	assert_int_equal(execute(session_message(77), 0), 0);
	assert_int_equal(execute(session_message(77), 0), -EEXIST);
	assert_int_equal(execute(session_message(78), 0), 0);
	assert_int_equal(execute(session_message(79), 0), -EMFILE);
	assert_null(session_find(lone, 79));
	assert_int_equal(lone->session_count, 2);
}

/* Ids of the same bucket, the first of which goes. */
static void test_session_given_chained_ids_finds_and_frees_each(void **state)
{
	struct engine_msg *m = message(ENGINE_CMD_SESSION_DEL);

	(void)state;
	assert_int_equal(execute(session_message(77), 0), 0);
	assert_int_equal(execute(session_message(77 + SESSION_BUCKETS), 0), 0);
	m->id.session = 77;
	assert_int_equal(execute(m, 0), 0);
	session_close_some(lone);
	m = engine_take(lone);
	assert_int_equal(m->type, ENGINE_NOTE_SESSION_GONE);
	assert_int_equal(m->id.session, 77);
	free(m);
	assert_null(session_find(lone, 77));
	assert_non_null(session_find(lone, 77 + SESSION_BUCKETS));
}

static void test_segment_given_bad_or_no_memory_is_refused(void **state)
{
	static uint8_t memory[SLAB_BYTES * 4];
	struct engine_segment_desc d = {.session = 77,
		.direction = SHM_UP,
		.index = 1,
		.base = memory,
		.bytes = sizeof(memory)};
	struct session *s;
	struct engine_msg *m;
	uint32_t slabs;

	(void)state;
	assert_int_equal(execute(session_message(77), 0), 0);
	s = session_find(lone, 77);
	slabs = s->chunks.slab_count;
	for (int which = 0; which < 3; which++) {
		m = message(ENGINE_CMD_SEGMENT_ADD);
		m->segment = d;
		if (which == 0)
			m->segment.session = 78;
		else if (which == 1)
			m->segment.index = PROTO_SEGMENTS_MAX;
		assert_int_equal(execute(m, which == 2 ? 1 : 0), which == 2 ? -ENOMEM : -ENOENT);
		assert_int_equal(s->chunks.slab_count, slabs);
	}
	m = message(ENGINE_CMD_SEGMENT_ADD);
	m->segment = d;
	assert_int_equal(execute(m, 0), 0);
	assert_int_equal(s->chunks.slab_count, slabs + 4);
}

static void test_listen_given_any_call_failing_is_refused_whole(void **state)
{
	unsigned int n = 1;

	(void)state;
	assert_int_equal(execute(session_message(77), 0), 0);
	for (;; n++) {
		int result = execute(listen_message(99), n);

		if (!fault.fired_name)
			break;
		assert_true(n < SWEEP_MAX);
		assert_int_equal(result, -ENOMEM);
		assert_int_equal(lone->listener_count, 0);
	}
	assert_int_equal(n, 3); /* the listener and its queue */
	assert_int_equal(lone->listener_count, 1);
}

/* What the sweep finds: everything that an engine is made of, and all of it given back. */
static void test_create_given_any_call_failing_leaks_nothing(void **state)
{
	struct engine_config cfg = engine_of(0)->cfg;
	unsigned int n = 1, before = fds();
	struct engine *e = NULL;
	int rc;

	(void)state;
	for (;; n++) {
		fault_arm(n);
		rc = engine_create(&e, &cfg, f.w.now_us);
		if (!fault_end())
			break;
		assert_true(n < SWEEP_MAX);
		assert_true(rc < 0);
		assert_null(e);
		assert_int_equal(fds(), before);
	}
	assert_int_equal(rc, 0);
	assert_true(n > 20);
	engine_destroy(e);
	assert_int_equal(fds(), before);
}

/* A note that cannot be made is lost: its session is condemned for the engine all the same. */
static void test_note_given_no_memory_still_condemns(void **state)
{
	struct session *s;

	(void)state;
	assert_int_equal(execute(session_message(77), 0), 0);
	s = session_find(lone, 77);
	fault_arm_only("calloc", 1);
	session_condemn(lone, s, PROTO_CONDEMNED_OP);
	assert_string_equal(fault_end(), "calloc");
	assert_true(s->condemned);
	assert_int_equal(lone->counters.sessions_condemned, 1);
	assert_null(engine_take(lone));
	session_condemn(lone, s, PROTO_CONDEMNED_OP); /* once is enough */
	assert_int_equal(lone->counters.sessions_condemned, 1);
}

/* At its end: commands not executed, and notes that nobody took. A sanitizer looks for leaks. */
static void test_destroy_given_messages_under_way_frees_them(void **state)
{
	struct engine_msg *done = message(ENGINE_CMD_DRAIN);

	(void)state;
	engine_post(lone, done);
	command_run(lone);
	command_note(lone, ENGINE_NOTE_NEED_UP, 1, 2);
	engine_post(lone, message(ENGINE_CMD_DRAIN));
	engine_destroy(lone);
	lone = NULL;
	free(done); /* executed and not taken: the sender's */
	assert_int_equal(engine_create(&lone, &engine_of(0)->cfg, f.w.now_us), 0);
}

#define L(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		L(test_command_given_unknown_type_refuses),
		L(test_command_given_many_executes_some_each_turn_in_order),
		L(test_session_given_any_call_failing_is_refused_whole),
		L(test_session_given_twice_or_too_many_is_refused),
		L(test_session_given_chained_ids_finds_and_frees_each),
		L(test_segment_given_bad_or_no_memory_is_refused),
		L(test_listen_given_any_call_failing_is_refused_whole),
		L(test_create_given_any_call_failing_leaks_nothing),
		L(test_note_given_no_memory_still_condemns),
		L(test_destroy_given_messages_under_way_frees_them),
	};

	return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
