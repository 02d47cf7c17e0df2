/* See out.h. The buffer keeps its size between batches. */
#include <ctl/out.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static int append(const char *bytes, size_t len, void *arg)
{
	struct out *o = arg;

	if (o->len + len > o->capacity) {
		size_t capacity = o->capacity ? o->capacity : 4096;
		char *bigger;

		while (capacity < o->len + len)
			capacity *= 2;
		bigger = realloc(o->data, capacity);
		if (!bigger)
			return -1;
		o->data = bigger;
		o->capacity = capacity;
	}
	memcpy(o->data + o->len, bytes, len);
	o->len += len;
	return 0;
}

void out_line(struct out *o, json_t *obj)
{
	size_t before = o->len;

	if (!obj || json_dump_callback(obj, append, o, JSON_COMPACT) || append("\n", 1, o)) {
		o->len = before;
		o->failed = true;
	}
	json_decref(obj);
}

int out_flush(struct out *o, int fd)
{
	while (o->sent < o->len) {
		ssize_t n =
			send(fd, o->data + o->sent, o->len - o->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		o->sent += (size_t)n;
	}
	o->sent = o->len = 0;
	return 1;
}

void out_free(struct out *o)
{
	free(o->data);
	*o = (struct out){0};
}
