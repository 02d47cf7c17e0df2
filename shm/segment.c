/* Creating, exporting and mapping segments; see the header for who may do what.
 *
 * Why a client cannot write `up`: the descriptor it gets is O_RDONLY, so neither a writable
 * shared mapping, nor mprotect, nor punching is possible through it; and the memfd's mode is
 * 0400 with the daemon as owner, so opening it anew through /proc/self/fd needs the daemon's
 * uid or CAP_DAC_OVERRIDE. Nobody can add pages, take any away by resizing, or add seals
 * (F_SEAL_SEAL). Why memory is never missing: fallocate allocates every page here, where
 * failure is an error code, not at the first touch, where it is SIGBUS.
 *
 * `down` is exported by reopening as well, so that the client has a file description of its
 * own and its F_SETFL, F_SETSIG or seeks change nothing of ours.
 */
#include <shm/segment.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define SEGMENT_ALIGN ((size_t)2 << 20) /* one huge page */

/* More than the machine has would not fail but wake the OOM killer. */
static int check_length(size_t len_bytes)
{
	struct sysinfo info;

	if (len_bytes == 0 || len_bytes > SIZE_MAX / 2)
		return -EINVAL;
	if (sysinfo(&info))
		return -errno;
	if (len_bytes / info.mem_unit > info.totalram)
		return -ENOMEM;
	return 0;
}

/* Length and pages, all of them. */
static int populate(int fd, size_t len_bytes)
{
	int err;

	if (ftruncate(fd, (off_t)len_bytes))
		return -errno;
	do {
		err = fallocate(fd, 0, 0, (off_t)len_bytes) ? -errno : 0;
	} while (err == -EINTR);
	return err;
}

/* A populated and sealed memfd of one kind of page: fd or -errno. */
static int make_memfd(enum shm_direction direction, size_t len_bytes, bool huge)
{
	const char *name = direction == SHM_UP ? "mtcpd-up" : "mtcpd-down";
	mode_t mode = direction == SHM_UP ? 0400 : 0600;
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd, err;

	if (huge)
		flags |= MFD_HUGETLB | MFD_HUGE_2MB;
	fd = memfd_create(name, flags);
	if (fd < 0)
		return -errno;
	err = populate(fd, len_bytes);
	if (err)
		goto out_close;
	if (fchmod(fd, mode) || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)) {
		err = -errno;
		goto out_close;
	}
	return fd;
out_close:
	close(fd);
	return err;
}

int shm_segment_create(
	struct shm_segment *s, enum shm_direction direction, size_t len_bytes, bool huge)
{
	int prot = direction == SHM_UP ? PROT_READ | PROT_WRITE : PROT_READ;
	int err = check_length(len_bytes);
	int fd = -1;
	void *base;

	*s = (struct shm_segment){.fd = -1};
	if (err)
		return err;
	len_bytes = (len_bytes + SEGMENT_ALIGN - 1) & ~(SEGMENT_ALIGN - 1);
	if (huge)
		fd = make_memfd(direction, len_bytes, true);
	if (fd < 0) {
		huge = false;
		fd = make_memfd(direction, len_bytes, false);
	}
	if (fd < 0)
		return fd;
	/* userfaultfd wants VM_MAYWRITE even of a read-only mapping: map by the O_RDWR fd */
	base = mmap(NULL, len_bytes, prot, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (base == MAP_FAILED) {
		err = -errno;
		close(fd);
		return err;
	}
	*s = (struct shm_segment){base, len_bytes, fd, huge, direction};
	return 0;
}

int shm_segment_export(const struct shm_segment *s)
{
	char path[sizeof("/proc/self/fd/") + 11];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", s->fd);
	fd = open(path, (s->direction == SHM_UP ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Whether fd is len_bytes long: touching pages past its end would raise SIGBUS. */
static int check_fd(int fd, size_t len_bytes)
{
	struct stat st;

	if (len_bytes == 0 || len_bytes % SEGMENT_ALIGN)
		return -EINVAL;
	if (fstat(fd, &st))
		return -errno;
	return (uint64_t)st.st_size == len_bytes ? 0 : -EINVAL;
}

int shm_segment_map(struct shm_segment *s, enum shm_direction direction, int fd, size_t len_bytes)
{
	int prot = direction == SHM_UP ? PROT_READ : PROT_READ | PROT_WRITE;
	int err = check_fd(fd, len_bytes);
	void *base = MAP_FAILED;

	*s = (struct shm_segment){.fd = -1};
	if (err)
		goto out_close;
	base = mmap(NULL, len_bytes, prot, MAP_SHARED, fd, 0);
	if (base == MAP_FAILED || madvise(base, len_bytes, MADV_DONTFORK)) {
		err = -errno;
		goto out_unmap;
	}
	*s = (struct shm_segment){base, len_bytes, -1, false, direction};
	goto out_close;
out_unmap:
	if (base != MAP_FAILED)
		munmap(base, len_bytes);
out_close:
	close(fd);
	return err;
}

void shm_segment_destroy(struct shm_segment *s)
{
	if (s->base)
		munmap(s->base, s->len_bytes);
	if (s->fd >= 0)
		close(s->fd);
	*s = (struct shm_segment){.fd = -1};
}
