#include "sim_pcapng.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* draft-ietf-opsawg-pcapng: blocks of type, length, body, options, and the length once more. */
enum {
	BLOCK_SECTION = 0x0a0d0d0a,
	BLOCK_INTERFACE = 1,
	BLOCK_PACKET = 6,
	OPTION_COMMENT = 1,
	OPTION_IF_NAME = 2,
	OPTION_EPB_FLAGS = 2,
	FLAG_INBOUND = 1,
	FLAG_OUTBOUND = 2,
	BYTE_ORDER_MAGIC = 0x1a2b3c4d,
	LINK_ETHERNET = 1,
	BODY_MAX = 66000,
};

struct block {
	uint32_t len;
	uint8_t bytes[BODY_MAX];
};

static void put(struct block *b, const void *data, uint32_t len)
{
	uint32_t padded = (len + 3) / 4 * 4;

	assert(b->len + padded <= BODY_MAX);
	memcpy(b->bytes + b->len, data, len);
	memset(b->bytes + b->len + len, 0, padded - len);
	b->len += padded;
}

static void put32(struct block *b, uint32_t v)
{
	put(b, &v, sizeof(v));
}

static void put_option(struct block *b, uint16_t code, const void *data, size_t len)
{
	put32(b, (uint32_t)len << 16 | code);
	put(b, data, (uint32_t)len);
}

static void begin(struct block *b, uint32_t type)
{
	b->len = 0;
	put32(b, type);
	put32(b, 0); /* the length, once it is known */
}

/* A file that cannot be written is no reason to fail a simulation. */
static void end(struct block *b, int fd)
{
	uint32_t len = b->len + 4;
	ssize_t written;

	memcpy(b->bytes + 4, &len, sizeof(len));
	put32(b, len);
	written = write(fd, b->bytes, b->len);
	(void)written;
}

static void write_section(struct block *b, int fd, const char *comment)
{
	begin(b, BLOCK_SECTION);
	put32(b, BYTE_ORDER_MAGIC);
	put32(b, 1); /* version 1.0 */
	put32(b, UINT32_MAX);
	put32(b, UINT32_MAX); /* its length is not known */
	put_option(b, OPTION_COMMENT, comment, strlen(comment));
	put32(b, 0);
	end(b, fd);
}

static void write_interface(struct block *b, int fd, int side)
{
	char name[8];

	snprintf(name, sizeof(name), "host%d", side);
	begin(b, BLOCK_INTERFACE);
	put32(b, LINK_ETHERNET);
	put32(b, 0); /* whole frames */
	put_option(b, OPTION_IF_NAME, name, strlen(name));
	put32(b, 0);
	end(b, fd);
}

int sim_pcapng_open(const char *path, const char *comment)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	struct block b;

	if (fd < 0)
		return -errno;
	write_section(&b, fd, comment);
	write_interface(&b, fd, 0);
	write_interface(&b, fd, 1);
	return fd;
}

void sim_pcapng_write(
	int fd, uint64_t now_us, int side, bool inbound, const uint8_t *frame, uint32_t len)
{
	uint32_t flags = inbound ? FLAG_INBOUND : FLAG_OUTBOUND;
	struct block b;

	begin(&b, BLOCK_PACKET);
	put32(&b, (uint32_t)side);
	put32(&b, (uint32_t)(now_us >> 32));
	put32(&b, (uint32_t)now_us);
	put32(&b, len);
	put32(&b, len);
	put(&b, frame, len);
	put_option(&b, OPTION_EPB_FLAGS, &flags, sizeof(flags));
	put32(&b, 0);
	end(&b, fd);
}
