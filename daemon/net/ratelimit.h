/* A token bucket: `rate_per_s` on average, `burst` at once.
 *
 * Credit is held in microseconds: it grows with time up to burst * interval, and each take
 * costs one interval. One owner; time is an argument and may stand still or step back.
 */
#ifndef NET_RATELIMIT_H
#define NET_RATELIMIT_H

#include <stdbool.h>
#include <stdint.h>

struct net_ratelimit {
	uint64_t last_us;
	uint64_t credit_us;
	uint64_t credit_max_us;
	uint64_t interval_us; /* 0: no limit */
};

/* Starts full. rate_per_s 0 means no limit; rates above 1,000,000 count as that. */
static inline void net_ratelimit_init(
	struct net_ratelimit *rl, uint32_t rate_per_s, uint32_t burst, uint64_t now_us)
{
	uint64_t interval_us = rate_per_s ? 1000000 / rate_per_s : 0;

	if (rate_per_s && !interval_us)
		interval_us = 1;
	if (!burst)
		burst = 1;
	rl->last_us = now_us;
	rl->interval_us = interval_us;
	rl->credit_max_us = interval_us * burst;
	rl->credit_us = rl->credit_max_us;
}

/* Takes one token; false if there is none. */
static inline bool net_ratelimit_take(struct net_ratelimit *rl, uint64_t now_us)
{
	if (now_us > rl->last_us) {
		uint64_t grown_us = now_us - rl->last_us;
		uint64_t room_us = rl->credit_max_us - rl->credit_us;

		rl->credit_us += grown_us < room_us ? grown_us : room_us;
		rl->last_us = now_us;
	}
	if (rl->credit_us < rl->interval_us)
		return false;
	rl->credit_us -= rl->interval_us;
	return true;
}

#endif
