/* What the files of mtcp-echo share: the command line, and what a thread reports. */
#ifndef EXAMPLES_ECHO_H
#define EXAMPLES_ECHO_H

#include "latency.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct echo_options {
	struct in_addr address;
	uint16_t port_first, port_last;
	uint32_t threads;
	uint32_t connections, messages; /* client: messages of each connection */
	uint32_t size_bytes;		/* of a message */
	bool hold;			/* client: keep connections open until a signal */
	bool json;
};

struct echo_result {
	uint64_t messages;
	uint64_t failed; /* connections */
	struct latency latency;
};

static inline uint32_t echo_ports(const struct echo_options *o)
{
	return o->port_last - o->port_first + 1u;
}

/* Serves until SIGINT or SIGTERM. 0, or 1 after a message. */
int echo_server(const struct echo_options *o);

/* Opens the connections, sends the messages and reports. 0 if all came back right, else 1. */
int echo_client(const struct echo_options *o);

/* SIGINT and SIGTERM end the program by echo_wait_signal() alone, from here on and in threads
 * started from here on. */
void echo_block_signals(void);
void echo_wait_signal(void);

#endif
