/* When a doorbell is rung here, and when by the ringer.
 *
 * Every ring is timed. One that took long on the clock may merely have lost the core to the
 * client that it woke, so the next ones of that bell are timed by the thread's own CPU time,
 * which costs a system call. That may still be long now and then where the machine is virtual, or
 * somebody else keeps the kernel busy; if several are, each session of the same user is rung out of
 * line for BELL_SLOW_US, also those that attach later: a user pays for a few slow rings a minute
 * with the engine's time at most, and with nothing else (ringer.h). Suspicion is the bell's own:
 * quick rings of another do not wear it off.
 */
#include "internal.h"

#include <time.h>

enum {
	BELL_LONG_US = RINGER_LONG_US,
	BELL_SUSPECT_RINGS = 16,
	BELL_STRIKES = 3, /* slow ones among them: it is no accident */
	BELL_SLOW_US = 60 * 1000000,
};

static struct slow_user *find_user(struct engine *e, uint32_t uid)
{
	for (unsigned int i = 0; i < SLOW_USERS_MAX; i++)
		if (e->slow_users[i].until_us && e->slow_users[i].uid == uid)
			return &e->slow_users[i];
	return NULL;
}

/* Until when the bells of this user's sessions are slow; 0: they are not known to be. */
uint64_t bell_slow_until_us(struct engine *e, uint32_t uid)
{
	const struct slow_user *u = find_user(e, uid);

	return u ? u->until_us : 0;
}

/* The user is remembered in the place of the one whose time is over first. */
static void remember(struct engine *e, uint32_t uid, uint64_t until_us)
{
	struct slow_user *u = find_user(e, uid);

	for (unsigned int i = 0; !u && i < SLOW_USERS_MAX; i++)
		if (!e->slow_users[i].until_us)
			u = &e->slow_users[i];
	for (unsigned int i = 0; !u && i < SLOW_USERS_MAX; i++) {
		struct slow_user *other = &e->slow_users[i];

		if (!u || other->until_us < u->until_us)
			u = other;
	}
	*u = (struct slow_user){.uid = uid, .until_us = until_us};
}

static void slow_down(struct engine *e, uint32_t uid)
{
	uint64_t until_us = e->now_us + BELL_SLOW_US;

	e->counters.doorbells_slow++;
	remember(e, uid, until_us);
	for (uint32_t i = 0; i < e->session_capacity; i++)
		if (e->sessions[i] && e->sessions[i]->desc.uid == uid)
			e->sessions[i]->bell_slow_until_us = until_us;
}

static void ring_here(struct engine *e, struct ring *r)
{
	bool suspect = r->bell_suspect > 0;
	uint32_t us = shm_doorbell_pipe_ring_timed(
		r->doorbell_fd, suspect ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC);

	r->bell_suspect -= suspect;
	if (us < BELL_LONG_US)
		return;
	if (!suspect) {
		r->bell_suspect = BELL_SUSPECT_RINGS;
		r->bell_strikes = 0;
	} else if (++r->bell_strikes == BELL_STRIKES) {
		r->bell_suspect = 0;
		slow_down(e, r->session->desc.uid);
	}
}

void bell_ring(struct engine *e, struct ring *r)
{
	struct bell *b = r->session->desc.bells[r->ctx];

	if (e->cfg.ringer && b && r->session->bell_slow_until_us > e->now_us) {
		ringer_ring(e->cfg.ringer, b);
		e->counters.doorbells_handed++;
	} else {
		ring_here(e, r);
	}
	r->session->doorbells++;
	e->counters.doorbells++;
}
