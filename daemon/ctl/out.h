/* Bytes on their way to a control connection: lines of JSON, sent as the socket takes them. */
#ifndef CTL_OUT_H
#define CTL_OUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct out {
	char *data;
	size_t len, sent, capacity;
	bool failed; /* memory was missing: what follows is not complete */
};

/* Appends obj as one line and drops the reference. NULL counts as missing memory. */
void out_line(struct out *o, json_t *obj);

/* Sends what the socket takes. 1: all sent; 0: more later; -errno. */
int out_flush(struct out *o, int fd);

void out_free(struct out *o);

#endif
