/* Theory of operation: notify.h. The manager's socket is a path or, with '@', an abstract name. */
#include "notify.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int notify_address(const char *name, struct sockaddr_un *sun, socklen_t *len)
{
	size_t name_len = strlen(name);

	if ((name[0] != '/' && name[0] != '@') || name_len >= sizeof(sun->sun_path))
		return -EINVAL;
	memset(sun, 0, sizeof(*sun));
	sun->sun_family = AF_UNIX;
	memcpy(sun->sun_path, name, name_len);
	if (name[0] == '@')
		sun->sun_path[0] = '\0';
	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + name_len);
	return 0;
}

int notify_send(const char *state)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sun;
	socklen_t len;
	int err = 0;
	int fd;

	if (name == NULL || name[0] == '\0')
		return 0;
	err = notify_address(name, &sun, &len);
	if (err < 0)
		return err;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&sun, len) < 0)
		err = -errno;
	close(fd);
	return err;
}

static uint64_t env_number(const char *name)
{
	const char *text = getenv(name);
	char *end;
	unsigned long long value;

	if (text == NULL || text[0] < '0' || text[0] > '9')
		return 0;
	errno = 0;
	value = strtoull(text, &end, 10);
	return errno == 0 && *end == '\0' ? value : 0;
}

uint64_t notify_watchdog_us(void)
{
	uint64_t pid = env_number("WATCHDOG_PID");

	if (pid != 0 && pid != (uint64_t)getpid())
		return 0;
	return env_number("WATCHDOG_USEC");
}
