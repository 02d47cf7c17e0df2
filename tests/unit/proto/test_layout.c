/* The layout: bounds, and that no two arrays of a segment overlap. */
#include "support.h"

#include <proto/layout.h>
#include <proto/slot.h>

static void test_layout_out_of_bounds_is_einval(void **state)
{
	struct proto_layout l;

	(void)state;
	assert_int_equal(proto_layout_init(&l, 0, 1, 8), -EINVAL);
	assert_int_equal(proto_layout_init(&l, 1, 0, 8), -EINVAL);
	assert_int_equal(proto_layout_init(&l, PROTO_CONTEXTS_MAX + 1, 1, 8), -EINVAL);
	assert_int_equal(proto_layout_init(&l, 1, PROTO_ENGINES_MAX + 1, 8), -EINVAL);
	assert_int_equal(proto_layout_init(&l, 1, 1, PROTO_RING_ORDER_MIN - 1), -EINVAL);
	assert_int_equal(proto_layout_init(&l, 1, 1, PROTO_RING_ORDER_MAX + 1), -EINVAL);
	assert_int_equal(proto_layout_init(&l, UINT32_MAX, UINT32_MAX, UINT32_MAX), -EINVAL);
}

static void test_layout_largest_fits_a_segment_reference(void **state)
{
	struct proto_layout l;

	(void)state;
	assert_int_equal(
		proto_layout_init(&l, PROTO_CONTEXTS_MAX, PROTO_ENGINES_MAX, PROTO_RING_ORDER_MAX),
		0);
	assert_true(l.down_payload > (size_t)PROTO_CONTEXTS_MAX * PROTO_ENGINES_MAX
					     << PROTO_RING_ORDER_MAX);
	assert_true(l.down_payload < UINT64_C(1) << PROTO_REF_SHIFT);
	assert_true(l.up_payload < UINT64_C(1) << PROTO_REF_SHIFT);
}

/* Claims [at, at + len): it must begin where everything before it ended, and be aligned. */
static uintptr_t claim(uintptr_t at, uintptr_t end, size_t len)
{
	assert_true(at >= end);
	assert_true(at % SHM_CACHE_LINE == 0);
	return at + len;
}

static void check_no_overlap(uint32_t contexts, uint32_t engines, uint32_t order)
{
	uint8_t *const base = (uint8_t *)4096; /* addresses only, nothing is touched */
	const size_t ring = sizeof(struct shm_slot) << order;
	uintptr_t down = (uintptr_t)base, up = (uintptr_t)base + sizeof(struct proto_up_header);
	struct proto_layout l;

	assert_int_equal(proto_layout_init(&l, contexts, engines, order), 0);
	for (uint32_t c = 0; c < contexts; c++)
		down = claim((uintptr_t)proto_layout_ctx_line(&l, base, c), down, 64);
	for (uint32_t p = 0; p < contexts * engines; p++)
		down = claim(
			(uintptr_t)proto_layout_completion_idx(&l, base, p / engines, p % engines),
			down, 64);
	for (uint32_t p = 0; p < contexts * engines; p++)
		down = claim((uintptr_t)proto_layout_submission_slots(
				     &l, base, p / engines, p % engines),
			down, ring);
	assert_true(l.down_payload % 4096 == 0 && l.down_payload >= down - (uintptr_t)base);
	for (uint32_t p = 0; p < contexts * engines; p++)
		up = claim(
			(uintptr_t)proto_layout_submission_line(&l, base, p / engines, p % engines),
			up, 64);
	for (uint32_t p = 0; p < contexts * engines; p++)
		up = claim((uintptr_t)proto_layout_completion_slots(
				   &l, base, p / engines, p % engines),
			up, ring);
	assert_true(l.up_payload % 4096 == 0 && l.up_payload >= up - (uintptr_t)base);
}

static void test_layout_arrays_do_not_overlap(void **state)
{
	(void)state;
	check_no_overlap(1, 1, PROTO_RING_ORDER_MIN);
	check_no_overlap(3, 5, 7);
	check_no_overlap(64, 1, 4);
	check_no_overlap(1, 64, PROTO_RING_ORDER_MAX);
	check_no_overlap(64, 64, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout_out_of_bounds_is_einval),
		cmocka_unit_test(test_layout_largest_fits_a_segment_reference),
		cmocka_unit_test(test_layout_arrays_do_not_overlap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
