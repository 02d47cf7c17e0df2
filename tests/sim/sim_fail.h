/* An invariant is broken: says so and aborts. sim_main.c, or cmocka, names the seed or test. */
#ifndef SIM_FAIL_H
#define SIM_FAIL_H

_Noreturn void sim_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define SIM_CHECK(condition, ...)                                                                  \
	do {                                                                                       \
		if (!(condition))                                                                  \
			sim_fail(__VA_ARGS__);                                                     \
	} while (0)

/* An invariant has a name, by which a violation is known and docs/architecture.md tells of it. */
#define SIM_INVARIANT(name, condition, fmt, ...)                                                   \
	SIM_CHECK(condition, "invariant " name " is broken: " fmt, ##__VA_ARGS__)

#endif
