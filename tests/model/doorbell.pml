/* The sleep handshake of shm/doorbell.h: no wake-up is lost.
 *
 * The waker publishes work, fences, reads the flag and rings if it is set. The sleeper, out of
 * work, sets the flag, fences, looks again, and blocks until it is rung. Stores go through a
 * store buffer per process, as on x86: memory sees them late, in order. A fence waits until
 * the own buffer is empty. A lost wake-up is a sleeper that blocks for ever with work waiting,
 * which the verifier reports as an invalid end state.
 *
 * -DNO_FENCE_WAKER and -DNO_FENCE_SLEEPER take a fence away, -DNO_SECOND_LOOK the sleeper's
 * look behind it: each must fail, or this model would prove nothing.
 */
#define ROUNDS 4

byte work;	/* in the waker's segment: items published */
bit sleeping;	/* in the sleeper's */
bit bell;	/* in the kernel: the channel is readable */

chan waker_stores = [2] of { byte };
chan sleeper_stores = [2] of { bit };

#ifdef NO_FENCE_WAKER
#define WAKER_FENCE skip
#else
#define WAKER_FENCE empty(waker_stores)
#endif
#ifdef NO_FENCE_SLEEPER
#define SLEEPER_FENCE skip
#else
#define SLEEPER_FENCE empty(sleeper_stores)
#endif
#ifdef NO_SECOND_LOOK
#define SECOND_LOOK false
#else
#define SECOND_LOOK (work > seen)
#endif

active proctype store_buffers()
{
end:	do
	:: waker_stores?work
	:: sleeper_stores?sleeping
	od
}

active proctype waker()
{
	byte n = 0;

	do
	:: n == ROUNDS -> break
	:: else ->
		n++;
		waker_stores!n;
		WAKER_FENCE;
		if
		:: sleeping -> bell = 1
		:: else
		fi
	od
}

active proctype sleeper()
{
	byte seen = 0;

	do
	:: seen == ROUNDS -> break
	:: else ->
		if
		:: work > seen ->
			seen = work
		:: else ->
			sleeper_stores!1;
			SLEEPER_FENCE;
			if
			:: SECOND_LOOK
			:: else ->
				bell == 1; /* blocks */
				bell = 0
			fi;
			sleeper_stores!0
		fi
	od
}
