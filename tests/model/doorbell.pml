/* The sleep handshake of shm/doorbell.h: no wake-up is lost.
 *
 * The waker publishes work, fences, reads the flag and rings if it tells of a sleep (odd) that it
 * has not rung yet. The sleeper, out of work, makes the flag odd with a number not used before,
 * fences, looks again, and blocks until it is rung. Stores go through a
 * store buffer per process, as on x86: memory sees them late, in order. A fence waits until
 * the own buffer is empty. A lost wake-up is a sleeper that blocks for ever with work waiting,
 * which the verifier reports as an invalid end state.
 *
 * -DNO_FENCE_WAKER and -DNO_FENCE_SLEEPER take a fence away, -DNO_SECOND_LOOK the sleeper's
 * look behind it, -DNO_NUMBER gives all sleeps the same number: each must fail, or this model
 * would prove nothing.
 */
#define ROUNDS 4

byte work;	/* in the waker's segment: items published */
byte flag;	/* in the sleeper's */
bit bell;	/* in the kernel: the channel is readable */

chan waker_stores = [2] of { byte };
chan sleeper_stores = [2] of { byte };

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
#ifdef NO_NUMBER
#define NEXT_NUMBER 0
#else
#define NEXT_NUMBER nap + 1
#endif

active proctype store_buffers()
{
end:	do
	:: waker_stores?work
	:: sleeper_stores?flag
	od
}

active proctype waker()
{
	byte n = 0, rung = 0, seen;

	do
	:: n == ROUNDS -> break
	:: else ->
		n++;
		waker_stores!n;
		WAKER_FENCE;
		seen = flag; /* one read */
		if
		:: seen % 2 == 1 && seen != rung ->
			rung = seen;
			bell = 1
		:: else
		fi
	od
}

active proctype sleeper()
{
	byte seen = 0, nap = 0;

	do
	:: seen == ROUNDS -> break
	:: else ->
		if
		:: work > seen ->
			seen = work
		:: else ->
			sleeper_stores!(nap + 1);
			SLEEPER_FENCE;
			if
			:: SECOND_LOOK
			:: else ->
				bell == 1; /* blocks */
				bell = 0
			fi;
			nap = NEXT_NUMBER;
			nap = NEXT_NUMBER;
			sleeper_stores!nap
		fi
	od
}
