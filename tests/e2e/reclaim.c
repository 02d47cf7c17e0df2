/* How long the daemon takes to reclaim what a killed client held.
 *
 * usage: reclaim CONTROL-SOCKET PID
 *
 * Kills PID with SIGKILL, then asks the daemon for its clients every millisecond over one
 * connection, until none of this pid is shown but one that is pinned (whose orphans still send
 * from its memory). Prints the time from the signal in ms. Exit status 0; 1 after 60 s, or
 * when the daemon does not answer.
 */
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static FILE *control_open(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(sun.sun_path))
		return NULL;
	strcpy(sun.sun_path, path);
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun))) {
		close(fd);
		return NULL;
	}
	return fdopen(fd, "r+");
}

static bool holds(const json_t *client, pid_t pid)
{
	const char *state = json_string_value(json_object_get(client, "state"));

	return json_integer_value(json_object_get(client, "pid")) == pid && state &&
	       strcmp(state, "pinned") != 0;
}

/* Whether the daemon shows a client of that pid; -1 when it does not answer. */
static int shown(FILE *control, pid_t pid)
{
	char line[65536];
	int found = 0;

	if (fputs("{\"cmd\": \"client\"}\n", control) < 0 || fflush(control))
		return -1;
	while (fgets(line, sizeof(line), control)) {
		json_t *obj = json_loads(line, 0, NULL);
		bool done = !obj || json_object_get(obj, "done") || json_object_get(obj, "error");

		found |= holds(obj, pid);
		json_decref(obj);
		if (done)
			return found;
	}
	return -1;
}

int main(int argc, char **argv)
{
	pid_t pid = argc == 3 ? atoi(argv[2]) : 0;
	FILE *control = pid > 0 ? control_open(argv[1]) : NULL;
	uint64_t start_us;
	int found;

	if (!control || shown(control, pid) != 1) {
		fprintf(stderr, "reclaim: no such client, or no daemon\n");
		return 1;
	}
	if (kill(pid, SIGKILL)) {
		perror("reclaim: kill");
		return 1;
	}
	start_us = now_us();
	while ((found = shown(control, pid)) == 1 && now_us() - start_us < 60000000)
		usleep(1000);
	printf("%.1f\n", (double)(now_us() - start_us) / 1000);
	fclose(control);
	return found;
}
