/* Requests on the control socket: the good ones pass, each single defect is refused. */
#include "support.h"

#include <proto/attach.h>
#include <proto/layout.h>

static union proto_msg request(uint16_t type)
{
	union proto_msg m;

	memset(&m, 0, sizeof(m));
	m.h.magic = PROTO_MAGIC;
	m.h.version = PROTO_VERSION;
	m.h.type = type;
	m.h.request_id = 9;
	return m;
}

static union proto_msg attach_request(void)
{
	union proto_msg m = request(PROTO_MSG_ATTACH);

	m.attach.contexts = 2;
	strcpy(m.attach.name, "lighttpd");
	return m;
}

static int check(const union proto_msg *m)
{
	return proto_msg_request_check(m, proto_msg_request_size(m->h.type));
}

static void test_request_good_passes(void **state)
{
	union proto_msg m = attach_request();

	(void)state;
	assert_int_equal(check(&m), 0);
	for (uint16_t type = PROTO_MSG_BIND; type <= PROTO_MSG_UNLISTEN; type++) {
		m = request(type);
		m.name.flags = PROTO_NAME_REUSEADDR;
		m.name.backlog = UINT32_MAX;
		m.name.listener.gen = 1;
		assert_int_equal(check(&m), 0);
	}
	m = request(PROTO_MSG_GROW);
	m.grow.bytes = 1 << 20;
	assert_int_equal(check(&m), 0);
}

static void test_request_of_any_other_length_is_refused(void **state)
{
	union proto_msg m = attach_request();

	(void)state;
	for (size_t len = 0; len <= sizeof(m) + 1; len++)
		assert_int_equal(proto_msg_request_check(&m, len),
			len == sizeof(struct proto_msg_attach) ? 0 : -EPROTO);
	assert_int_equal(proto_msg_request_check(&m, SIZE_MAX), -EPROTO);
}

static void test_request_of_foreign_type_is_refused(void **state)
{
	(void)state;
	for (uint32_t type = 0; type <= UINT16_MAX; type++) {
		union proto_msg m = request((uint16_t)type);
		bool of_client = (type >= PROTO_MSG_ATTACH && type <= PROTO_MSG_GROW) ||
				 type == PROTO_MSG_RELISTEN;

		assert_int_equal(proto_msg_request_size((uint16_t)type) > 0, of_client);
		if (of_client)
			continue;
		for (size_t len = 0; len <= sizeof(m); len += 8)
			assert_int_equal(proto_msg_request_check(&m, len), -EPROTO);
	}
}

static void test_request_with_bad_header_is_refused(void **state)
{
	union proto_msg m = attach_request();

	(void)state;
	m.h.magic++;
	assert_int_equal(check(&m), -EPROTO);
	m = attach_request();
	m.h.version++;
	assert_int_equal(check(&m), -EPROTO);
	m = attach_request();
	m.h.result = -1;
	assert_int_equal(check(&m), -EPROTO);
}

static void test_attach_with_bad_numbers_is_refused(void **state)
{
	union proto_msg m = attach_request();

	(void)state;
	m.attach.contexts = 0;
	assert_int_equal(check(&m), -EPROTO);
	m.attach.contexts = PROTO_CONTEXTS_MAX + 1;
	assert_int_equal(check(&m), -EPROTO);
	m.attach.contexts = PROTO_CONTEXTS_MAX;
	assert_int_equal(check(&m), 0);
	m.attach.reserved = 1;
	assert_int_equal(check(&m), -EPROTO);
}

static void test_attach_with_bad_name_is_refused(void **state)
{
	union proto_msg m = attach_request();

	(void)state;
	memset(m.attach.name, 'x', sizeof(m.attach.name));
	assert_int_equal(check(&m), -EPROTO);
	m.attach.name[sizeof(m.attach.name) - 1] = '\0';
	assert_int_equal(check(&m), 0);
	m.attach.name[3] = '\n';
	assert_int_equal(check(&m), -EPROTO);
	m.attach.name[3] = '\x1b';
	assert_int_equal(check(&m), -EPROTO);
	m.attach.name[3] = '\x7f';
	assert_int_equal(check(&m), -EPROTO);
	m.attach.name[0] = '\0'; /* empty; what follows is not read */
	assert_int_equal(check(&m), 0);
}

static void test_name_request_with_bad_fields_is_refused(void **state)
{
	union proto_msg m = request(PROTO_MSG_LISTEN);

	(void)state;
	m.name.flags = 1u << 3;
	assert_int_equal(check(&m), -EPROTO);
	m = request(PROTO_MSG_LISTEN);
	m.name.context = PROTO_CONTEXTS_MAX;
	assert_int_equal(check(&m), -EPROTO);
	m = request(PROTO_MSG_BIND);
	m.name.defer_accept_s = PROTO_DEFER_ACCEPT_MAX_S + 1;
	assert_int_equal(check(&m), -EPROTO);
	m = request(PROTO_MSG_UNLISTEN);
	assert_int_equal(check(&m), -EPROTO);
	m = request(PROTO_MSG_RELISTEN);
	assert_int_equal(check(&m), -EPROTO);
	m.name.listener.gen = 1;
	assert_int_equal(check(&m), 0);
}

static void test_grow_with_impossible_size_is_refused(void **state)
{
	union proto_msg m = request(PROTO_MSG_GROW);

	(void)state;
	assert_int_equal(check(&m), -EPROTO);
	m.grow.bytes = UINT64_C(1) << PROTO_REF_SHIFT;
	assert_int_equal(check(&m), -EPROTO);
	m.grow.bytes--;
	assert_int_equal(check(&m), 0);
	m.grow.bytes = UINT64_MAX;
	assert_int_equal(check(&m), -EPROTO);
}

static void test_condemned_names_are_distinct(void **state)
{
	(void)state;
	for (int i = 0; i < PROTO_CONDEMNED_COUNT; i++) {
		assert_non_null(proto_condemned_name((enum proto_condemned)i));
		for (int j = 0; j < i; j++)
			assert_string_not_equal(proto_condemned_name((enum proto_condemned)i),
				proto_condemned_name((enum proto_condemned)j));
	}
	assert_string_equal(proto_condemned_name((enum proto_condemned)999), "unknown");
	assert_string_equal(proto_condemned_name((enum proto_condemned) - 1), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request_good_passes),
		cmocka_unit_test(test_request_of_any_other_length_is_refused),
		cmocka_unit_test(test_request_of_foreign_type_is_refused),
		cmocka_unit_test(test_request_with_bad_header_is_refused),
		cmocka_unit_test(test_attach_with_bad_numbers_is_refused),
		cmocka_unit_test(test_attach_with_bad_name_is_refused),
		cmocka_unit_test(test_name_request_with_bad_fields_is_refused),
		cmocka_unit_test(test_grow_with_impossible_size_is_refused),
		cmocka_unit_test(test_condemned_names_are_distinct),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
