#include "pkt_parse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	SCRIPT_MAX = 1 << 20,
	BLOCK_BYTES = 16 << 10,
};

struct pkt_block {
	struct pkt_block *next;
	size_t used, size;
	_Alignas(16) char data[];
};

void *pkt_script_alloc(struct pkt_script *s, size_t bytes)
{
	struct pkt_block *b = s->arena;

	bytes = (bytes + 15) & ~(size_t)15;
	if (!b || b->size - b->used < bytes) {
		size_t size = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;

		b = calloc(1, sizeof(*b) + size);
		if (!b)
			abort();
		b->size = size;
		b->next = s->arena;
		s->arena = b;
	}
	b->used += bytes;
	return b->data + b->used - bytes;
}

void pkt_script_free(struct pkt_script *s)
{
	while (s->arena) {
		struct pkt_block *next = s->arena->next;

		free(s->arena);
		s->arena = next;
	}
	s->text = NULL;
}

static int fail(struct pkt_script *s, const char *why)
{
	snprintf(s->error, sizeof(s->error), "%s: %s", s->path, why);
	return -1;
}

static int read_text(struct pkt_script *s)
{
	FILE *f = fopen(s->path, "r");
	size_t n;

	if (!f)
		return fail(s, strerror(errno));
	s->text = pkt_script_alloc(s, SCRIPT_MAX + 1);
	n = fread(s->text, 1, SCRIPT_MAX + 1, f);
	fclose(f);
	if (n > SCRIPT_MAX)
		return fail(s, "longer than 1 MiB");
	s->text[n] = '\0';
	return strlen(s->text) == n ? 0 : fail(s, "holds a zero byte");
}

int pkt_script_load(struct pkt_script *s, const char *path)
{
	*s = (struct pkt_script){.path = path, .tolerance_us = PKT_TOLERANCE_US};
	if (read_text(s))
		return -1;
	return pkt_parse(s);
}
