/* Messages to the operator.
 *
 * One line a message to stderr, `<N>text` with N the syslog priority (sd-daemon(3)) when
 * stderr is not a terminal, plain text when it is. Each call site has a token bucket of its
 * own (LOG_SITE_BURST messages, then LOG_SITE_PER_S a second), so that nothing a client or a
 * packet does can fill the journal; what was held back is told as "N messages suppressed"
 * with the next message that passes. Any thread may log; a message is one write(2), and
 * control characters in it are shown as '?'.
 */
#ifndef CTL_LOG_H
#define CTL_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

/* As syslog(3) numbers them. */
enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7,
};

enum {
	LOG_SITE_BURST = 10,
	LOG_SITE_PER_S = 2,
	LOG_LINE_MAX = 1024, /* longer messages are cut */
};

/* The bucket of one call site; static storage, zeroed. Only log.c looks inside. */
struct log_site {
	uint64_t filled_us;
	uint32_t tokens;
	uint32_t suppressed;
	bool begun;
};

/* Messages above this level are dropped before they are formatted. Default: info. */
void log_level_set(enum log_level level);
enum log_level log_level_get(void);

/* Where the lines go; default stderr. Keeps the descriptor, does not own it. For tests. */
void log_fd_set(int fd);

/* Whether this site may speak now; *suppressed is how many it swallowed since it last did.
 * `now_us` is monotonic. Exposed for tests. */
bool log_site_allow(struct log_site *site, uint64_t now_us, uint32_t *suppressed);

void log_write(struct log_site *site, enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Without a bucket: for what happens once, and for text that comes from another library. */
void log_write_always(enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#define LOG_AT(level, ...)                                                                         \
	do {                                                                                       \
		static struct log_site log_site_here_;                                             \
		log_write(&log_site_here_, (level), __VA_ARGS__);                                  \
	} while (0)
#define log_error(...)	 LOG_AT(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) LOG_AT(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)	 LOG_AT(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)	 LOG_AT(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)	 LOG_AT(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
