/* Fuzzes what judges clients by form: control messages and submission slots.
 *
 * Bit 0 of the first byte chooses; the rest is a message, or a run of slots. Bit 1 makes the
 * message's header and length good ones, so that bodies are reached without guessing a 32-bit
 * magic. Beyond not crashing, what passes must have the properties that the daemon and the
 * gate rely on.
 */
#include <proto/attach.h>
#include <proto/decode.h>
#include <proto/layout.h>

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not assert(): a fuzzer must notice in every kind of build. */
static void require(bool holds)
{
	if (!holds)
		abort();
}

/* A copy of exactly the received length, so that a sanitizer sees reads past it. */
static union proto_msg *message_make(const uint8_t *data, size_t *size, bool good_header)
{
	union proto_msg *m = calloc(1, *size ? *size : 1);

	require(m != NULL);
	if (*size)
		memcpy(m, data, *size);
	if (!good_header || *size < sizeof(m->h))
		return m;
	m->h.magic = PROTO_MAGIC;
	m->h.version = PROTO_VERSION;
	m->h.type %= PROTO_MSG_COUNT;
	m->h.result = 0;
	if (proto_msg_request_size(m->h.type) <= *size)
		*size = proto_msg_request_size(m->h.type);
	return m;
}

static void fuzz_message(const uint8_t *data, size_t size, bool good_header)
{
	union proto_msg *m = message_make(data, &size, good_header);

	if (proto_msg_request_check(m, size) == 0) {
		require(size == proto_msg_request_size(m->h.type));
		require(m->h.magic == PROTO_MAGIC && m->h.version == PROTO_VERSION);
		if (m->h.type == PROTO_MSG_ATTACH)
			require(m->attach.contexts >= 1 &&
				m->attach.contexts <= PROTO_CONTEXTS_MAX &&
				memchr(m->attach.name, 0, sizeof(m->attach.name)));
		else if (m->h.type == PROTO_MSG_GROW)
			require(m->grow.bytes > 0 && m->grow.bytes >> PROTO_REF_SHIFT == 0);
		else
			require(m->name.context < PROTO_CONTEXTS_MAX);
	}
	free(m);
}

static void fuzz_slot(const uint8_t *data)
{
	struct proto_slot raw, out;
	int reason;

	memcpy(&raw, data, sizeof(raw));
	out = raw;
	reason = proto_op_judge(&out);
	require(reason >= PROTO_OK && reason < PROTO_CONDEMNED_COUNT);
	if (reason != PROTO_OK)
		return;
	require(out.head == proto_head_make(proto_head_op(out.head), proto_head_request(out.head)));
	require(proto_head_op(out.head) > PROTO_OP_INVALID &&
		proto_head_op(out.head) < PROTO_OP_COUNT);
	require(memcmp(&out.body, &raw.body, sizeof(out.body)) == 0);
	if (proto_head_op(out.head) == PROTO_OP_SEND) {
		require(out.body.send.len_bytes > 0 &&
			out.body.send.len_bytes <= PROTO_SEND_LEN_MAX);
		require(proto_ref_segment(out.body.send.ref) < PROTO_SEGMENTS_MAX);
		require(out.body.send.pos + out.body.send.len_bytes > out.body.send.pos);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] & 1) {
		fuzz_message(data + 1, size - 1, data[0] & 2);
		return 0;
	}
	for (size_t at = 1; size - at >= sizeof(struct proto_slot); at += sizeof(struct proto_slot))
		fuzz_slot(data + at);
	return 0;
}
