/* How each command's items look as text. */
#ifndef MTCPCTL_VIEW_H
#define MTCPCTL_VIEW_H

#include "merge.h"
#include "options.h"

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

struct view {
	const char *command;
	const char *header; /* printed first; NULL: none */
	void (*item)(FILE *out, const json_t *item, const struct options *o);
	const struct merge_rule *merge; /* NULL: items are printed as they come */
};

/* NULL if there is no such command. */
const struct view *view_find(const char *command);

/* Fields of an item; absent ones are 0 and "". */
long long view_int(const json_t *item, const char *key);
const char *view_text(const json_t *item, const char *key);

/* view_table.c: all but flow and listen */
void view_client(FILE *out, const json_t *item, const struct options *o);
void view_engine(FILE *out, const json_t *item, const struct options *o);
void view_port(FILE *out, const json_t *item, const struct options *o);
void view_neigh(FILE *out, const json_t *item, const struct options *o);
void view_counter(FILE *out, const json_t *item, const struct options *o);
void view_agent(FILE *out, const json_t *item, const struct options *o);
void view_version(FILE *out, const json_t *item, const struct options *o);

#define VIEW_CLIENT_HEADER                                                                         \
	"   Session     Pid    Uid State     Conns Orphans   Recv-mem   Send-mem  Names Listen "   \
	"Wake-ups Process\n"
#define VIEW_ENGINE_HEADER                                                                         \
	"Engine Core    Conns Half-open Time-wait  Sockets Orphans Clients Listen   Chunks "       \
	"       Turns    Busy%   Sleeps\n"

#endif
