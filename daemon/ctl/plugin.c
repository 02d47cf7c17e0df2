/* The file that is checked is the file that is loaded: by its descriptor, through /proc. */
#include <ctl/plugin.h>

#include <tcp/cc.h>
#include <tcp/mtcp_cc_plugin.h>

#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int check_file(int fd, const char **why)
{
	struct stat st;

	*why = "not a regular file";
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return -EPERM;
	*why = "not owned by root, or writable by others";
	if (st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH)))
		return -EPERM;
	return 0;
}

static bool name_is_good(const char name[MTCP_CC_NAME_BYTES])
{
	size_t len = strnlen(name, MTCP_CC_NAME_BYTES);

	if (len == 0 || len == MTCP_CC_NAME_BYTES)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && name[i] != '-' && name[i] != '_')
			return false;
	return tcp_cc_find(name) < 0 && strcmp(name, "reno") != 0;
}

static int check_table(const struct mtcp_cc_plugin *p, const char **why)
{
	*why = "made for another version of mtcpd";
	if (p->abi != MTCP_CC_PLUGIN_ABI || p->size != sizeof(*p))
		return -EPROTO;
	*why = "its name is not a name, or taken";
	if (!name_is_good(p->name))
		return -EINVAL;
	*why = "a function is missing";
	return p->init && p->acked && p->ssthresh ? 0 : -EINVAL;
}

static int load_fd(int fd, const struct mtcp_cc_plugin **out, const char **why)
{
	const struct mtcp_cc_plugin *p;
	char path[32];
	void *object;
	int rc;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	*why = "not a shared object that can be loaded";
	object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!object)
		return -ENOEXEC;
	*why = "does not export " MTCP_CC_PLUGIN_SYMBOL;
	p = dlsym(object, MTCP_CC_PLUGIN_SYMBOL);
	rc = p ? check_table(p, why) : -ENOEXEC;
	if (rc < 0)
		dlclose(object);
	else
		*out = p;
	return rc;
}

int plugin_load(const char *path, const struct mtcp_cc_plugin **out, const char **why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int rc;

	*why = "cannot be opened";
	if (fd < 0)
		return -errno;
	rc = check_file(fd, why);
	if (rc == 0)
		rc = load_fd(fd, out, why);
	close(fd);
	return rc;
}
