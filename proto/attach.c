/* The one boundary where requests on the control socket are judged.
 *
 * Every request has one exact size. Flags that do not exist and reserved fields must be zero, so
 * that a later version can give them a meaning. Whether names and handles exist is for the daemon
 * to answer.
 */
#include <proto/attach.h>

#include <errno.h>
#include <string.h>

#include <proto/layout.h>

static_assert(sizeof(struct proto_msg_header) == 16, "version 1");
static_assert(sizeof(struct proto_msg_attach) == 56, "version 1");
static_assert(sizeof(struct proto_msg_name) == 64, "version 1");
static_assert(sizeof(struct proto_msg_grow) == 24, "version 1");
static_assert(sizeof(struct proto_msg_segment) == 32, "version 1");
static_assert(sizeof(struct proto_msg_attached) == 16 + 64 + 40 * 24 + 8 + 8 * 16, "version 3");

size_t proto_msg_request_size(uint16_t type)
{
	switch (type) {
	case PROTO_MSG_ATTACH:
		return sizeof(struct proto_msg_attach);
	case PROTO_MSG_BIND:
	case PROTO_MSG_UNBIND:
	case PROTO_MSG_LISTEN:
	case PROTO_MSG_UNLISTEN:
	case PROTO_MSG_RELISTEN:
		return sizeof(struct proto_msg_name);
	case PROTO_MSG_GROW:
		return sizeof(struct proto_msg_grow);
	default:
		return 0;
	}
}

/* Terminated, and without control characters: it goes to logs and terminals. */
static bool name_is_good(const char *name, size_t size)
{
	size_t len = strnlen(name, size);

	if (len == size)
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)name[i];

		if (c < 0x20 || c == 0x7f)
			return false;
	}
	return true;
}

static bool attach_is_good(const struct proto_msg_attach *m)
{
	return m->contexts >= 1 && m->contexts <= PROTO_CONTEXTS_MAX && m->reserved == 0 &&
	       name_is_good(m->name, sizeof(m->name));
}

static bool name_request_is_good(const struct proto_msg_name *m)
{
	const uint32_t known = PROTO_NAME_REUSEADDR | PROTO_NAME_V6ONLY | PROTO_NAME_REUSEPORT;

	if (m->flags & ~known || m->defer_accept_s > PROTO_DEFER_ACCEPT_MAX_S)
		return false;
	if (m->context >= PROTO_CONTEXTS_MAX)
		return false;
	if (m->h.type != PROTO_MSG_UNLISTEN && m->h.type != PROTO_MSG_RELISTEN)
		return true;
	return m->listener.gen != 0;
}

static bool grow_is_good(const struct proto_msg_grow *m)
{
	return m->bytes > 0 && m->bytes < UINT64_C(1) << PROTO_REF_SHIFT;
}

static bool body_is_good(const union proto_msg *m)
{
	switch (m->h.type) {
	case PROTO_MSG_ATTACH:
		return attach_is_good(&m->attach);
	case PROTO_MSG_GROW:
		return grow_is_good(&m->grow);
	default:
		return name_request_is_good(&m->name);
	}
}

int proto_msg_request_check(const union proto_msg *m, size_t len)
{
	size_t size;

	if (len < sizeof(m->h) || m->h.magic != PROTO_MAGIC || m->h.version != PROTO_VERSION)
		return -EPROTO;
	size = proto_msg_request_size(m->h.type);
	if (size == 0 || len != size || m->h.result != 0)
		return -EPROTO;
	return body_is_good(m) ? 0 : -EPROTO;
}

const char *proto_condemned_name(enum proto_condemned reason)
{
	static const char *const names[] = {
		[PROTO_OK] = "ok",
		[PROTO_CONDEMNED_OP] = "unknown operation or flag",
		[PROTO_CONDEMNED_INDEX] = "consumer index out of range",
		[PROTO_CONDEMNED_RANGE] = "reference or length outside the payload",
		[PROTO_CONDEMNED_POSITION] = "impossible stream position",
		[PROTO_CONDEMNED_HOLE] = "hole in its segment",
		[PROTO_CONDEMNED_CONTROL] = "malformed control message",
		[PROTO_CONDEMNED_LIMIT] = "limit passed",
	};

	static_assert(sizeof(names) / sizeof(*names) == PROTO_CONDEMNED_COUNT, "one name each");
	if ((unsigned int)reason >= PROTO_CONDEMNED_COUNT)
		return "unknown";
	return names[reason];
}
