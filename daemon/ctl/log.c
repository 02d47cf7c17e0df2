/* Theory of operation: log.h. A line is formatted on the stack and leaves in one write(2), so
 * lines of different threads never mix. The buckets are guarded by one mutex that is held for
 * a few instructions; a message below the level costs one relaxed load. */
#include "log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static _Atomic int log_level_now = LOG_LEVEL_INFO;
static _Atomic int log_fd = STDERR_FILENO;
static pthread_mutex_t log_site_mutex = PTHREAD_MUTEX_INITIALIZER;

void log_level_set(enum log_level level)
{
	atomic_store_explicit(&log_level_now, (int)level, memory_order_relaxed);
}

enum log_level log_level_get(void)
{
	return (enum log_level)atomic_load_explicit(&log_level_now, memory_order_relaxed);
}

void log_fd_set(int fd)
{
	atomic_store_explicit(&log_fd, fd, memory_order_relaxed);
}

static uint64_t clock_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

bool log_site_allow(struct log_site *site, uint64_t now_us, uint32_t *suppressed)
{
	const uint64_t period_us = 1000000 / LOG_SITE_PER_S;

	if (!site->begun) {
		*site = (struct log_site){
			.begun = true, .tokens = LOG_SITE_BURST, .filled_us = now_us};
	} else if (now_us > site->filled_us) {
		uint64_t earned = (now_us - site->filled_us) / period_us;
		uint64_t tokens = site->tokens + earned;

		site->tokens = tokens < LOG_SITE_BURST ? (uint32_t)tokens : LOG_SITE_BURST;
		site->filled_us += earned * period_us;
	}
	if (site->tokens == 0) {
		site->suppressed++;
		return false;
	}
	site->tokens--;
	*suppressed = site->suppressed;
	site->suppressed = 0;
	return true;
}

/* Hostile names may be part of a message: no control characters, no forged lines. */
static void sanitize(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			text[i] = '?';
	}
}

static size_t clamp_length(int printed, size_t room)
{
	if (printed < 0)
		return 0;
	return (size_t)printed < room ? (size_t)printed : room - 1;
}

static void emit(enum log_level level, uint32_t suppressed, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));
static void emit(enum log_level level, uint32_t suppressed, const char *fmt, va_list ap)
{
	char line[LOG_LINE_MAX];
	int fd = atomic_load_explicit(&log_fd, memory_order_relaxed);
	size_t room = sizeof(line) - 1; /* for the newline */
	size_t len = 0;
	size_t head;

	if (!isatty(fd))
		len = clamp_length(snprintf(line, room, "<%d>", (int)level), room);
	head = len;
	len += clamp_length(vsnprintf(line + len, room - len, fmt, ap), room - len);
	if (suppressed > 0)
		len += clamp_length(
			snprintf(line + len, room - len, " (%u messages suppressed)", suppressed),
			room - len);
	sanitize(line + head, len - head);
	line[len++] = '\n';
	/* Nobody is left to tell if this fails. */
	if (write(fd, line, len) < 0)
		return;
}

void log_write(struct log_site *site, enum log_level level, const char *fmt, ...)
{
	uint32_t suppressed = 0;
	va_list ap;
	bool allowed;

	if (level > log_level_get())
		return;
	pthread_mutex_lock(&log_site_mutex);
	allowed = log_site_allow(site, clock_us(), &suppressed);
	pthread_mutex_unlock(&log_site_mutex);
	if (!allowed)
		return;
	va_start(ap, fmt);
	emit(level, suppressed, fmt, ap);
	va_end(ap);
}

void log_write_always(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (level > log_level_get())
		return;
	va_start(ap, fmt);
	emit(level, 0, fmt, ap);
	va_end(ap);
}
