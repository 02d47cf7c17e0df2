/* What the files of openloop share. */
#ifndef BENCH_OPENLOOP_H
#define BENCH_OPENLOOP_H

#include "histogram.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct openloop_options {
	struct sockaddr_in address;
	bool listen, json, spin;
	double rate; /* messages a second, of all connections */
	double seconds, warmup_s;
	unsigned int connections;
	unsigned int size_bytes; /* of a message */
};

struct openloop_result {
	struct histogram latency_ns; /* from when a message was due to when all of it is back */
	struct histogram late_ns;    /* from when it was due to when it was given to the socket */
	uint64_t answered;	     /* of those that were due after the warm-up */
	uint64_t in_time;	     /* answers that came between the warm-up and the end */
};

/* Echoes what comes until a signal ends the process. -errno. */
int openloop_serve(const struct openloop_options *o);
/* 0 or -errno. */
int openloop_drive(const struct openloop_options *o, struct openloop_result *result);

#endif
