/* The DPDK environment (EAL): started once a process, from the configuration alone.
 *
 * The environment lives in memory only (--in-memory): no file in /dev/hugepages, /dev/shm or
 * /run/dpdk outlives the process, and several daemons run side by side. Engines are ordinary
 * threads that register themselves, so that they may float over CPUs or be bound to one
 * without EAL's knowing of it beforehand.
 *
 * eal_start() blocks the real-time signals and SIGIO in the calling thread, and thereby in
 * all threads made later: net_tap wants to be told of each frame by such a signal, and
 * nic_fd.c takes that away from it.
 */
#ifndef NIC_EAL_H
#define NIC_EAL_H

#include <stdbool.h>
#include <stdint.h>

enum eal_hugepages {
	EAL_HUGEPAGES_AUTO,
	EAL_HUGEPAGES_YES,
	EAL_HUGEPAGES_NO,
};

struct eal_config {
	const char *device;   /* the port that will be opened: decides about buses */
	const char *instance; /* unique among running daemons: the runtime directory */
	enum eal_hugepages hugepages;
	uint32_t mbufs;	     /* as nic_port_config */
	uint16_t mtu_bytes;  /* as nic_port_config */
	uint32_t memory_mib; /* 0: as much as mbufs take, and some */
	bool verbose;	     /* the libraries' informational messages too */
	/* Gets each line that DPDK or nic logs, without newline. level as syslog(3)'s. */
	void (*log)(int level, const char *line);
};

/* Main thread. 0 or -errno with the reason logged: -ENOMEM, huge pages were demanded and there
 * are too few; else what EAL says. *huge: whether huge pages are used. */
int eal_start(const struct eal_config *cfg, bool *huge);
/* After the port was closed and every registered thread has left. */
void eal_stop(void);

/* A thread that will use a port's queues: before the first use, and after the last. 0 or
 * -errno. */
int eal_thread_enter(void);
void eal_thread_leave(void);

#endif
