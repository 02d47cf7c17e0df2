/* Finding the descriptor that wakes a queue.
 *
 * DPDK's kernel-backed drivers offer no receive interrupt, yet each has a descriptor inside
 * that poll(2) understands: a packet socket, an AF_XDP socket, a tun queue. They are found as
 * what is new among the process's descriptors after the driver has set a queue up.
 *
 * net_tap asks to be signalled (O_ASYNC) for each frame and does not read unless a signal has
 * come since it last found nothing. Its handler never runs (the signals are blocked, eal.c), so its
 * counter stays zero, which makes it read whenever asked; and the signals are turned off
 * here, for they would cost one system call's worth each.
 */
#include "internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int compare_ints(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

static int append(struct nic_fd_set *set, uint32_t *room, int fd)
{
	if (set->count == *room) {
		uint32_t more = *room ? *room * 2 : 64;
		int *fds = realloc(set->fds, more * sizeof(*fds));

		if (fds == NULL)
			return -ENOMEM;
		set->fds = fds;
		*room = more;
	}
	set->fds[set->count++] = fd;
	return 0;
}

int nic_fd_snapshot(struct nic_fd_set *set)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *d;
	uint32_t room = 0;
	int err = 0;

	*set = (struct nic_fd_set){0};
	if (dir == NULL)
		return -errno;
	while (err == 0 && (d = readdir(dir)) != NULL) {
		if (d->d_name[0] >= '0' && d->d_name[0] <= '9' && atoi(d->d_name) != dirfd(dir))
			err = append(set, &room, atoi(d->d_name));
	}
	closedir(dir);
	if (err < 0)
		nic_fd_free(set);
	else if (set->count > 0)
		qsort(set->fds, set->count, sizeof(*set->fds), compare_ints);
	return err;
}

void nic_fd_free(struct nic_fd_set *set)
{
	free(set->fds);
	*set = (struct nic_fd_set){0};
}

static bool contains(const struct nic_fd_set *set, int fd)
{
	return set->count > 0 &&
	       bsearch(&fd, set->fds, set->count, sizeof(*set->fds), compare_ints) != NULL;
}

static bool is_tun(int fd)
{
	char link[64], target[64];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, target, sizeof(target) - 1);
	if (len < 0)
		return false;
	target[len] = '\0';
	return strcmp(target, "/dev/net/tun") == 0;
}

static bool is_raw_socket(int fd)
{
	int domain;
	socklen_t len = sizeof(domain);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0)
		return false;
	return domain == AF_PACKET || domain == AF_XDP;
}

static void signals_off(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0 && (flags & O_ASYNC))
		fcntl(fd, F_SETFL, flags & ~O_ASYNC);
}

uint32_t nic_fd_new_queues(
	const struct nic_fd_set *before, const struct nic_fd_set *after, int *fds, uint32_t max)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < after->count; i++) {
		int fd = after->fds[i];

		if (contains(before, fd))
			continue;
		if (is_tun(fd))
			signals_off(fd);
		else if (!is_raw_socket(fd))
			continue;
		if (count < max)
			fds[count] = fd;
		count++;
	}
	return count;
}
