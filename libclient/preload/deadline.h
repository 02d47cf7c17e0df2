/* Relative time-outs of the POSIX calls, as points on CLOCK_MONOTONIC. */
#ifndef PRELOAD_DEADLINE_H
#define PRELOAD_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* *at = now + wait; false if wait is no valid duration. Saturates. */
static inline bool pl_time_after(struct timespec *at, const struct timespec *wait)
{
	if (wait->tv_sec < 0 || wait->tv_nsec < 0 || wait->tv_nsec >= 1000000000)
		return false;
	clock_gettime(CLOCK_MONOTONIC, at);
	at->tv_nsec += wait->tv_nsec;
	if (at->tv_nsec >= 1000000000) {
		at->tv_nsec -= 1000000000;
		at->tv_sec++;
	}
	if (__builtin_add_overflow(at->tv_sec, wait->tv_sec, &at->tv_sec))
		at->tv_sec = INT64_MAX;
	return true;
}

static inline struct timespec pl_time_of_ms(int ms)
{
	return (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
}

static inline uint64_t pl_time_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* What is left until at; zero if it has passed. */
static inline struct timespec pl_time_left(const struct timespec *at)
{
	struct timespec left;

	clock_gettime(CLOCK_MONOTONIC, &left);
	left.tv_sec = at->tv_sec - left.tv_sec;
	left.tv_nsec = at->tv_nsec - left.tv_nsec;
	if (left.tv_nsec < 0) {
		left.tv_nsec += 1000000000;
		left.tv_sec--;
	}
	return left.tv_sec < 0 ? (struct timespec){0} : left;
}

static inline bool pl_time_passed(const struct timespec *at)
{
	struct timespec left = pl_time_left(at);

	return !left.tv_sec && !left.tv_nsec;
}

#endif
