/* One small judge per operation; the table at the end is in the order of enum proto_op. */
#include <proto/decode.h>

#include <string.h>

#include <proto/attach.h>
#include <proto/layout.h>

#define HEAD_RESERVED UINT64_C(0xfffffe00) /* bits 9-15, and the flags: none exists yet */

static_assert(sizeof(struct proto_connect) == 56, "body");
static_assert(sizeof(struct proto_accept) == 56, "body");
static_assert(sizeof(struct proto_send) == 56, "body");
static_assert(sizeof(struct proto_consumed) == 56, "body");
static_assert(sizeof(struct proto_shutdown) == 56, "body");
static_assert(sizeof(struct proto_close) == 56, "body");
static_assert(sizeof(struct proto_setopt) == 56, "body");
static_assert(sizeof(struct proto_info) == 56, "body");

/* Whether the body is zero from byte `from` to its end. */
static bool tail_is_zero(const union proto_body *b, size_t from)
{
	static const union proto_body zero;

	return memcmp((const uint8_t *)b + from, (const uint8_t *)&zero + from,
		       sizeof(*b) - from) == 0;
}

static int judge_connect(const union proto_body *b)
{
	const uint32_t known = PROTO_OPTION_NODELAY | PROTO_OPTION_KEEPALIVE |
			       PROTO_OPTION_RCVBUF_CLAMP | PROTO_OPTION_FASTOPEN;

	if (b->connect.options & ~known || b->connect.congestion > PROTO_CONGESTION_MAX)
		return PROTO_CONDEMNED_OP;
	return PROTO_OK;
}

static int judge_accept(const union proto_body *b)
{
	const uint32_t known = PROTO_ACCEPT_KEEP | PROTO_ACCEPT_CANCEL;

	if (b->accept.flags & ~known || !tail_is_zero(b, offsetof(struct proto_accept, reserved)))
		return PROTO_CONDEMNED_OP;
	return PROTO_OK;
}

static int judge_send(const union proto_body *b)
{
	const struct proto_send *s = &b->send;

	if (s->flags & ~(uint32_t)PROTO_SEND_MORE ||
		!tail_is_zero(b, offsetof(struct proto_send, reserved)))
		return PROTO_CONDEMNED_OP;
	if (s->len_bytes == 0 || s->len_bytes > PROTO_SEND_LEN_MAX ||
		proto_ref_segment(s->ref) >= PROTO_SEGMENTS_MAX)
		return PROTO_CONDEMNED_RANGE;
	if (s->pos > UINT64_MAX - s->len_bytes)
		return PROTO_CONDEMNED_POSITION;
	return PROTO_OK;
}

static int judge_consumed(const union proto_body *b)
{
	return tail_is_zero(b, offsetof(struct proto_consumed, reserved)) ? PROTO_OK
									  : PROTO_CONDEMNED_OP;
}

static int judge_shutdown(const union proto_body *b)
{
	return tail_is_zero(b, offsetof(struct proto_shutdown, reserved)) ? PROTO_OK
									  : PROTO_CONDEMNED_OP;
}

static int judge_close(const union proto_body *b)
{
	if (b->close.flags & ~(uint32_t)PROTO_CLOSE_ABORT ||
		!tail_is_zero(b, offsetof(struct proto_close, reserved32)))
		return PROTO_CONDEMNED_OP;
	return PROTO_OK;
}

static int judge_setopt(const union proto_body *b)
{
	if (b->setopt.reserved32 || !tail_is_zero(b, offsetof(struct proto_setopt, reserved)))
		return PROTO_CONDEMNED_OP;
	return PROTO_OK;
}

static int judge_info(const union proto_body *b)
{
	return tail_is_zero(b, offsetof(struct proto_info, reserved)) ? PROTO_OK
								      : PROTO_CONDEMNED_OP;
}

static int (*const judges[PROTO_OP_COUNT])(const union proto_body *b) = {
	[PROTO_OP_CONNECT] = judge_connect,
	[PROTO_OP_ACCEPT] = judge_accept,
	[PROTO_OP_SEND] = judge_send,
	[PROTO_OP_CONSUMED] = judge_consumed,
	[PROTO_OP_SHUTDOWN] = judge_shutdown,
	[PROTO_OP_CLOSE] = judge_close,
	[PROTO_OP_SETOPT] = judge_setopt,
	[PROTO_OP_INFO] = judge_info,
};
static_assert(PROTO_OP_COUNT == PROTO_OP_INFO + 1, "each operation has a judge");

int proto_op_judge(struct proto_slot *slot)
{
	uint8_t op = proto_head_op(slot->head);

	if (op >= PROTO_OP_COUNT || !judges[op] || slot->head & HEAD_RESERVED)
		return PROTO_CONDEMNED_OP;
	slot->head &= ~SHM_SLOT_PHASE;
	return judges[op](&slot->body);
}
