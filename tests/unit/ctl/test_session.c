/* The session table, whose ids do not come back soon, and ends that meet no memory. */
#include "server_fixture.h"

#include "../faults.h"

static void test_table_given_no_memory_is_empty(void **state)
{
	struct ctl_session_table t;

	(void)state;
	for (unsigned int n = 1; n <= 3; n++) {
		fault_arm(n);
		assert_int_equal(ctl_session_table_init(&t, 8), -ENOMEM);
		assert_string_equal(fault_end(), "calloc");
		assert_int_equal(t.capacity, 0);
		assert_null(t.at);
	}
	assert_int_equal(ctl_session_table_init(&t, 8), 0);
	ctl_session_table_fini(&t);
}

static void test_find_given_wild_ids_finds_only_the_one(void **state)
{
	struct ctl_session one = {.server = NULL}, two = {.server = NULL};
	struct ctl_session_table t;

	(void)state;
	assert_int_equal(ctl_session_table_init(&t, 2), 0);
	t.gen[0] = UINT16_MAX; /* wraps: generation 0 would make an id of 0, which is nobody's */
	ctl_session_table_put(&t, &one);
	ctl_session_table_put(&t, &two);
	assert_int_equal(one.id, 1u << SESSION_IDX_BITS);
	assert_ptr_equal(ctl_session_find(&t, one.id), &one);
	assert_ptr_equal(ctl_session_find(&t, two.id), &two);
	assert_null(ctl_session_find(&t, 0));
	assert_null(ctl_session_find(&t, two.id + (1u << SESSION_IDX_BITS)));
	assert_null(ctl_session_find(&t, two.id + 1)); /* an index past the table */
	assert_null(ctl_session_find(&t, UINT32_MAX));
	t.count = 0;
	ctl_session_table_fini(&t);
}

static void test_state_given_each_has_a_name(void **state)
{
	(void)state;
	for (int i = 0; i < SESSION_STATE_COUNT; i++)
		assert_non_null(ctl_session_state_name((enum ctl_session_state)i));
	assert_string_equal(ctl_session_state_name(SESSION_PINNED), "pinned");
}

static struct ctl_session *attach_one(int *fd)
{
	uint32_t cursor = 0;
	struct received r;

	assert_int_equal(client_attach(fd, &r), 0);
	client_close(&r);
	return ctl_session_next(&fx.server->sessions, &cursor);
}

/* The engines are told at the next tick, and until then the session's memory stays. */
static void test_end_given_no_memory_is_told_to_engines_later(void **state)
{
	struct ctl_session *c;
	int fd;

	(void)state;
	c = attach_one(&fd);
	fault_arm_only("calloc", 2); /* engine 0 hears of it, engine 1 does not */
	ctl_session_end(c, PROTO_OK, "test");
	assert_string_equal(fault_end(), "calloc");
	fake_turn();
	server_engines_posted(fx.server);
	assert_int_equal(fx.server->sessions.count, 1);
	assert_int_equal(fake_engine[0].sessions, 0);
	assert_int_equal(fake_engine[1].sessions, 1);
	run_us(2 * SERVER_TICK_US);
	assert_int_equal(fx.server->sessions.count, 0);
	assert_int_equal(fake_engine[1].sessions, 0);
	assert_int_equal(fx.server->fds_used, 0);
	close(fd);
}

/* The guard's flag, set by whichever thread met the hole, ends the session at the next tick. */
static void test_tick_given_hole_condemns(void **state)
{
	struct ctl_session *c;
	int fd;

	(void)state;
	log_fd_set(open("/dev/null", O_WRONLY | O_CLOEXEC));
	c = attach_one(&fd);
	atomic_store(&c->holed, true);
	run_us(2 * SERVER_TICK_US);
	assert_int_equal(fx.server->sessions.count, 0);
	assert_int_equal(fx.server->counters.sessions_holed, 1);
	assert_int_equal(fx.server->counters.sessions_condemned, 1);
	close(fd);
	log_fd_set(2);
}

static void test_send_given_client_gone_ends_the_session(void **state)
{
	struct proto_msg_header h = {.magic = PROTO_MAGIC, .version = PROTO_VERSION};
	struct ctl_session *c;
	int fd;

	(void)state;
	c = attach_one(&fd);
	close(fd);
	assert_false(ctl_session_send(c, &h, sizeof(h), NULL, 0));
	assert_int_not_equal(c->state, SESSION_LIVE);
	assert_int_equal(fx.server->counters.sessions_exited, 1);
	assert_int_equal(fx.server->counters.sessions_stalled, 0);
	run_us(5000);
	assert_int_equal(fx.server->sessions.count, 0);
}

/* An engine may speak of a session that is long gone. */
static void test_notes_given_stale_ids_meet_nobody(void **state)
{
	struct engine_msg m = {.engine = 1};
	int fd;

	(void)state;
	(void)attach_one(&fd);
	m.id.session = 4711;
	ctl_session_on_deleted(fx.server, &m);
	ctl_session_on_gone(fx.server, &m);
	fake_note(&fake_engine[0], ENGINE_NOTE_CONDEMNED, 4711, PROTO_CONDEMNED_OP);
	run_us(2000);
	assert_int_equal(fx.server->sessions.count, 1);
	assert_int_equal(fx.server->counters.sessions_condemned, 0);
	close(fd);
}

#define F(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table_given_no_memory_is_empty),
		cmocka_unit_test(test_find_given_wild_ids_finds_only_the_one),
		cmocka_unit_test(test_state_given_each_has_a_name),
		F(test_end_given_no_memory_is_told_to_engines_later),
		F(test_tick_given_hole_condemns),
		F(test_send_given_client_gone_ends_the_session),
		F(test_notes_given_stale_ids_meet_nobody),
	};

	return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
