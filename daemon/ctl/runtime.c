/* See runtime.h. The lock is on the directory itself, so that no file is left behind. */
#include <ctl/runtime.h>

#include <ctl/log.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	BACKLOG = 256,
};

static gid_t group_find(const char *group)
{
	struct group *g;

	if (!group[0])
		return (gid_t)-1;
	g = getgrnam(group);
	if (!g)
		log_warning("group '%s' does not exist: only uid %u may attach", group, geteuid());
	return g ? g->gr_gid : (gid_t)-1;
}

int runtime_open(struct runtime *rt, const char *dir, const char *group)
{
	int err;

	*rt = (struct runtime){.dir_fd = -1, .gid = group_find(group)};
	if ((size_t)snprintf(rt->dir, sizeof(rt->dir), "%s", dir) >= sizeof(rt->dir))
		return -ENAMETOOLONG;
	if (mkdir(dir, 0755) == 0)
		rt->made = true;
	else if (errno != EEXIST)
		goto out_errno;
	rt->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (rt->dir_fd < 0)
		goto out_errno;
	if (flock(rt->dir_fd, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK)
			goto out_errno;
		log_error("%s: another daemon uses this runtime directory", dir);
		close(rt->dir_fd);
		rt->dir_fd = -1;
		return -EADDRINUSE;
	}
	return 0;
out_errno:
	err = -errno;
	log_error("%s: %s", dir, strerror(-err));
	runtime_close(rt);
	return err;
}

void runtime_close(struct runtime *rt)
{
	if (rt->made && rmdir(rt->dir))
		log_warning("%s: cannot remove: %s", rt->dir, strerror(errno));
	rt->made = false;
	if (rt->dir_fd >= 0)
		close(rt->dir_fd);
	rt->dir_fd = -1;
}

static int address(const struct runtime *rt, const char *name, struct sockaddr_un *sun)
{
	*sun = (struct sockaddr_un){.sun_family = AF_UNIX};
	if ((size_t)snprintf(sun->sun_path, sizeof(sun->sun_path), "%s/%s", rt->dir, name) >=
		sizeof(sun->sun_path))
		return -ENAMETOOLONG;
	return 0;
}

/* Takes away a socket that nobody serves. 0 if the name is free now. */
static int remove_stale(const struct sockaddr_un *sun, int type)
{
	struct stat st;
	int fd, err = 0;

	if (lstat(sun->sun_path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0 || errno != ECONNREFUSED)
		err = -EADDRINUSE;
	close(fd);
	if (!err && unlink(sun->sun_path))
		err = -errno;
	return err;
}

/* Closed to others until listen(): fchmod on the socket decides the mode of its file. */
static int bind_and_listen(const struct runtime *rt, int fd, const struct sockaddr_un *sun)
{
	if (fchmod(fd, 0600) || bind(fd, (const struct sockaddr *)sun, sizeof(*sun)))
		return -errno;
	if (rt->gid != (gid_t)-1 &&
		(lchown(sun->sun_path, (uid_t)-1, rt->gid) || chmod(sun->sun_path, 0660)))
		goto out_unlink;
	if (listen(fd, BACKLOG))
		goto out_unlink;
	return 0;
out_unlink:;
	int err = -errno;

	unlink(sun->sun_path);
	return err;
}

int runtime_listen(struct runtime *rt, const char *name, int type)
{
	struct sockaddr_un sun;
	int fd, err;

	err = address(rt, name, &sun);
	if (!err)
		err = remove_stale(&sun, type);
	if (err)
		goto out_log;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		err = -errno;
		goto out_log;
	}
	err = bind_and_listen(rt, fd, &sun);
	if (!err)
		return fd;
	close(fd);
out_log:
	log_error("%s/%s: %s", rt->dir, name,
		err == -EADDRINUSE ? "another daemon answers here" : strerror(-err));
	return err;
}

void runtime_unlink(struct runtime *rt, const char *name)
{
	struct sockaddr_un sun;

	if (address(rt, name, &sun) == 0)
		unlink(sun.sun_path);
}
