/* Runs one script and reports the first thing that is not as it says. */
#ifndef PKT_RUN_H
#define PKT_RUN_H

#include <stdbool.h>
#include <stdio.h>

struct pkt_run_options {
	bool trace;	  /* each event and frame, in the script's notation */
	bool lenient;	  /* frames left over at the end are no failure */
	bool foreign;	  /* a script of Linux's: see pkt_expect.c */
	const char *pcap; /* file to write, or NULL */
	const char *dir;  /* an empty directory, for the daemon's sockets */
};

/* 0: it held. Otherwise `file:line: ...` went to stderr. Once a process. */
int pkt_run(const char *path, const struct pkt_run_options *options);

#endif
