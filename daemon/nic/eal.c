/* Theory of operation: eal.h. */
#include "eal.h"

#include "internal.h"

#include <errno.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_version.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	EAL_ARGS_MAX = 24,
	EAL_MEMORY_OVERHEAD_MIB = 64, /* rings, queues, drivers' own */
};

RTE_LOG_REGISTER(nic_logtype, mtcpd.nic, INFO)

static struct {
	bool huge;
	void (*log)(int level, const char *line);
	FILE *log_stream;
	char runtime_dir[256];
	int argc;
	char *argv[EAL_ARGS_MAX + 1];
} eal;

bool nic_eal_huge(void)
{
	return eal.huge;
}

/* Errors of drivers that are none: what they then do without is not used here. */
static const char *const harmless[] = {"Specified qdisc kind is unknown", "multiq qdisc",
	"Disabling rte flow support", "req to secondary", "mp action callback",
	"RING: Cannot reserve memory", "No valid MAC in devargs"};

static bool is_harmless(const char *line)
{
	for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
		if (strstr(line, harmless[i]) != NULL)
			return true;
	}
	return false;
}

/* DPDK writes a message at a time; the stream is line-buffered. */
static ssize_t log_line(void *cookie, const char *buf, size_t size)
{
	int level = rte_log_cur_msg_loglevel() - 1; /* RTE_LOG_* are syslog's plus one */
	char line[1024];
	size_t len = size < sizeof(line) ? size : sizeof(line) - 1;

	(void)cookie;
	memcpy(line, buf, len);
	while (len > 0 && line[len - 1] == '\n')
		len--;
	line[len] = '\0';
	if (is_harmless(line))
		level = 7;
	if (len > 0)
		eal.log(level < 3 ? 3 : level, line);
	return (ssize_t)size;
}

static int log_redirect(const struct eal_config *cfg)
{
	cookie_io_functions_t io = {.write = log_line};

	eal.log = cfg->log;
	if (cfg->log == NULL)
		return 0;
	eal.log_stream = fopencookie(NULL, "w", io);
	if (eal.log_stream == NULL)
		return -ENOMEM;
	setvbuf(eal.log_stream, NULL, _IOLBF, 1024);
	rte_openlog_stream(eal.log_stream);
	return 0;
}

static int add(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int add(const char *fmt, ...)
{
	va_list ap;
	int len;

	if (eal.argc == EAL_ARGS_MAX)
		return -E2BIG;
	va_start(ap, fmt);
	len = vasprintf(&eal.argv[eal.argc], fmt, ap);
	va_end(ap);
	if (len < 0)
		return -ENOMEM;
	eal.argv[++eal.argc] = NULL;
	return 0;
}

static void free_args(void)
{
	for (int i = 0; i < eal.argc; i++)
		free(eal.argv[i]);
	eal.argc = 0;
}

/* The main lcore on every CPU that we may use: it floats, as do engines unless bound. */
static int add_lcores(void)
{
	char list[1024] = "";
	size_t len = 0;
	cpu_set_t cpus;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
		return -errno;
	for (int cpu = 0; cpu < CPU_SETSIZE && len < sizeof(list); cpu++) {
		if (CPU_ISSET(cpu, &cpus))
			len += (size_t)snprintf(
				list + len, sizeof(list) - len, "%s%d", len ? "," : "", cpu);
	}
	return add("--lcores=0@(%s)", list);
}

/* FNV-1a: the instance's name may be a path of any length. */
static uint64_t hash_name(const char *name)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (; *name != '\0'; name++)
		hash = (hash ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
	return hash;
}

static int add_bus(const struct eal_config *cfg)
{
	char name[64];
	int err;

	if (!nic_device_is_pci(cfg->device)) {
		err = add("--no-pci");
		return err < 0 ? err : add("--iova-mode=va");
	}
	err = nic_device_name(name, sizeof(name), cfg->device);
	return err < 0 ? err : add("--allow=%s", name);
}

static int add_memory(const struct eal_config *cfg)
{
	int err;

	if (!eal.huge) {
		/* EAL refuses --in-memory beside --no-huge; --no-shconf is what is left of it. */
		err = add("--no-huge");
		if (err == 0)
			err = add("--no-shconf");
		return err < 0 ? err : add("-m%u", cfg->memory_mib);
	}
	err = add("--in-memory");
	if (err < 0)
		return err;
	/* One file for all pages of a kind: what virtio-user and memif hand to their peer. */
	return add("--single-file-segments");
}

static int build_args(const struct eal_config *cfg)
{
	int err = add("mtcpd");

	if (err == 0)
		err = add("--no-telemetry");
	if (err == 0)
		err = add("--file-prefix=mtcpd-%d-%016llx", (int)getpid(),
			(unsigned long long)hash_name(cfg->instance));
	if (err == 0)
		err = add("--log-level=*:%s", cfg->verbose ? "info" : "warning");
	if (err == 0)
		err = add("--log-level=mtcpd.*:%s", cfg->verbose ? "debug" : "info");
	if (err == 0)
		err = add_bus(cfg);
	if (err == 0)
		err = add_memory(cfg);
	return err == 0 ? add_lcores() : err;
}

static uint64_t free_hugepages_mib(void)
{
	FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "re");
	unsigned long pages = 0;

	if (f == NULL)
		return 0;
	if (fscanf(f, "%lu", &pages) != 1)
		pages = 0;
	fclose(f);
	return (uint64_t)pages * 2;
}

static int choose_memory(const struct eal_config *cfg)
{
	uint64_t free_mib = free_hugepages_mib();

	eal.huge = cfg->hugepages != EAL_HUGEPAGES_NO && free_mib >= cfg->memory_mib;
	if (eal.huge || cfg->hugepages == EAL_HUGEPAGES_NO)
		return 0;
	nic_log(NOTICE, "%u MiB of huge pages wanted, %llu free%s\n", cfg->memory_mib,
		(unsigned long long)free_mib,
		cfg->hugepages == EAL_HUGEPAGES_YES ? "" : ": plain pages are used");
	return cfg->hugepages == EAL_HUGEPAGES_YES ? -ENOMEM : 0;
}

static int block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	for (int signo = SIGRTMIN; signo <= SIGRTMAX; signo++)
		sigaddset(&set, signo);
	sigaddset(&set, SIGIO);
	return -pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* The library makes a directory even for an environment that puts nothing into it. */
static void remove_runtime_dir(void)
{
	char *slash;

	if (eal.runtime_dir[0] == '\0' || rmdir(eal.runtime_dir) < 0)
		return;
	slash = strrchr(eal.runtime_dir, '/');
	if (slash == NULL)
		return;
	*slash = '\0';
	rmdir(eal.runtime_dir); /* stays if another DPDK program has something there */
}

int eal_start(const struct eal_config *cfg, bool *huge)
{
	char *argv[EAL_ARGS_MAX + 1];
	struct eal_config c = *cfg;
	int err = log_redirect(cfg);

	if (c.memory_mib == 0)
		c.memory_mib = nic_memory_mib(c.mbufs, c.mtu_bytes) + EAL_MEMORY_OVERHEAD_MIB;
	if (err == 0)
		err = block_signals();
	if (err == 0)
		err = choose_memory(&c);
	if (err == 0)
		err = build_args(&c);
	if (err < 0) {
		free_args();
		return err;
	}
	memcpy(argv, eal.argv, sizeof(argv)); /* EAL changes it, and keeps what it points to */
	err = rte_eal_init(eal.argc, argv) < 0 ? -rte_errno : 0;
	snprintf(eal.runtime_dir, sizeof(eal.runtime_dir), "%s", rte_eal_get_runtime_dir());
	*huge = eal.huge;
	remove_runtime_dir(); /* at once, so that not even SIGKILL leaves it behind */
	if (err == 0)
		return 0;
	nic_log(ERR, "DPDK does not start: %s\n", rte_strerror(-err));
	free_args();
	return err;
}

void eal_stop(void)
{
	rte_eal_cleanup();
	rte_openlog_stream(NULL);
	if (eal.log_stream != NULL)
		fclose(eal.log_stream);
	eal.log_stream = NULL;
	free_args();
}

int eal_thread_enter(void)
{
	return rte_thread_register() < 0 ? -rte_errno : 0;
}

void eal_thread_leave(void)
{
	rte_thread_unregister();
}
