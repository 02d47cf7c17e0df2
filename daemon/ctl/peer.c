/* Credentials from SO_PEERCRED, the process from SO_PEERPIDFD (Linux 6.5).
 *
 * What is read from /proc by pid is believed only if the pidfd says afterwards that the process
 * still lives: until then its pid cannot have been given to another. */
#include <ctl/peer.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

int peer_get(int fd, struct peer *p)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return -errno;
	if (cred.pid <= 0)
		return -ESRCH;
	*p = (struct peer){.pid = cred.pid, .uid = cred.uid, .gid = cred.gid};
	return 0;
}

bool peer_exited(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) != 0;
}

int peer_pidfd(int fd, const struct peer *p)
{
	int pidfd = -1;
	socklen_t len = sizeof(pidfd);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) == 0)
		return pidfd;
	if (errno != ENOPROTOOPT)
		return errno == EINVAL || errno == ENODATA ? -ESRCH : -errno;
	pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	return pidfd < 0 ? -errno : pidfd;
}

static bool in_our_user_ns(int32_t pid)
{
	char path[48];
	struct stat theirs, ours;

	snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
	return stat(path, &theirs) == 0 && stat("/proc/self/ns/user", &ours) == 0 &&
	       theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino;
}

/* The CapEff line of /proc/PID/status; 0 if it cannot be had. */
static uint64_t effective_caps(int32_t pid)
{
	char path[48], line[256];
	uint64_t caps = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "CapEff:", 7) == 0) {
			caps = strtoull(line + 7, NULL, 16);
			break;
		}
	}
	fclose(f);
	return caps;
}

bool peer_may_bind_reserved(const struct peer *p, int pidfd)
{
	bool may;

	if (p->uid == 0)
		return true;
	may = in_our_user_ns(p->pid) &&
	      (effective_caps(p->pid) & (UINT64_C(1) << CAP_NET_BIND_SERVICE));
	return may && !peer_exited(pidfd);
}
