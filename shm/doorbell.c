/* The system calls behind the doorbells; the header says why these kinds of descriptor. */
#include <shm/doorbell.h>

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	DOORBELL_QUEUE_BYTES = 4608, /* the kernel's minimum: a handful of rings unread */
};

int shm_doorbell_pipe(int fds[2])
{
	const int queue_bytes = DOORBELL_QUEUE_BYTES / 2; /* the kernel doubles it */
	int err;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return -errno;
	if (setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &queue_bytes, sizeof(queue_bytes)) ||
		shutdown(fds[1], SHUT_RD)) {
		err = -errno;
		close(fds[0]);
		close(fds[1]);
		return err;
	}
	return 0;
}

void shm_doorbell_pipe_ring(int write_fd)
{
	while (send(write_fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

static uint64_t clock_us(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint32_t shm_doorbell_pipe_ring_timed(int write_fd, clockid_t clock)
{
	uint64_t start_us = clock_us(clock), took_us;

	shm_doorbell_pipe_ring(write_fd);
	took_us = clock_us(clock) - start_us;
	return took_us < UINT32_MAX ? (uint32_t)took_us : UINT32_MAX;
}

void shm_doorbell_pipe_drain(int read_fd)
{
	char rings[DOORBELL_QUEUE_BYTES];
	ssize_t n;

	/* More rings than the queue holds cannot be there at once: a second look suffices. */
	for (int i = 0; i < 2; i++) {
		n = recv(read_fd, rings, sizeof(rings), MSG_DONTWAIT);
		if (n < (ssize_t)sizeof(rings))
			break;
	}
}

int shm_doorbell_event(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

void shm_doorbell_event_ring(int fd)
{
	const uint64_t one = 1;

	while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}
