/* System calls of a script, made with the client library. */
#ifndef PKT_CALL_H
#define PKT_CALL_H

#include "pkt_script.h"
#include "pkt_task.h"

enum {
	PKT_FDS_MAX = 64, /* descriptors as a script numbers them */
	PKT_PORT = 8080,  /* what "..." means to bind() and connect() */
};

struct pkt_fd {
	bool open;
	int live;
	uint32_t tx_pos, rx_pos; /* bytes written and read so far */
};

/* What calls share: the script's view of its process. */
struct pkt_process {
	struct pkt_fd fd[PKT_FDS_MAX];
	int last_fd;   /* accepted or connected last; -1: none */
	uint16_t port; /* bound last */
	enum pkt_family family;
};

/* A call under way. */
struct pkt_job {
	const struct pkt_call *call;
	struct pkt_process *process;
	uint32_t line;
	struct pkt_task *task;
	bool done;
	uint64_t done_us, end_us; /* live times: when it returned, and when it was to */
	int64_t result;
	int err;
	char why[160]; /* what is wrong beside the result, or "" */
};

/* Whether there is such a call. */
bool pkt_call_known(const char *name);
/* A pkt_task_fn: makes the call of a job. */
void pkt_call_run(void *job);

#endif
