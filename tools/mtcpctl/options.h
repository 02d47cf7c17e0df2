/* The command line of mtcpctl. */
#ifndef MTCPCTL_OPTIONS_H
#define MTCPCTL_OPTIONS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#define MTCPCTL_RUNTIME_DIR "/run/mtcpd"
#define MTCPCTL_SOCKET_NAME "mtcpctl.sock"
#define MTCPCTL_SOCKET_ENV  "MTCPD_CTL_SOCKET"

struct view;

struct options {
	const struct view *view;
	char socket[108]; /* as sun_path */
	json_t *request;  /* owned */
	bool json;	  /* -j */
	bool all;	  /* -a: counters that are zero too */
	bool verbose;	  /* -v: what each counter means */
	bool brief;	  /* -b: no second line for a flow */
};

/* -1: go on; else the exit code, everything said (help on `out`, complaints on `err`). */
int options_parse(struct options *o, int argc, char **argv, FILE *out, FILE *err);

#endif
