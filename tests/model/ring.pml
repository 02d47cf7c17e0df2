/* The phase-bit ring of shm/ring.h: nothing is lost, doubled, torn, or overwritten unread.
 *
 * Indices run modulo WRAP, a multiple of two laps, as they do modulo 2^32. Each shared word
 * is stored and loaded in a step of its own, in program order: release and acquire forbid
 * exactly the reorderings that would matter. The consumer publishes its index when it likes,
 * and at the latest when the ring is empty. Who cannot go on blocks, so that a ring stuck full
 * or empty is an invalid end state.
 *
 * Mutants, each of which must fail: -DHEAD_FIRST publishes the head before the body,
 * -DPUBLISH_EARLY lets the producer have a slot that was not copied yet, -DNO_FLIP keeps the
 * phase the same on each lap, -DOVERFILL allows one slot too many.
 */
#define SIZE  2
#define WRAP  8	/* indices */
#define SLOTS 11 /* pushed in all: several laps, and past the wrap of the indices */

bit head[SIZE];	 /* the phase bit of word 0 */
byte body[SIZE]; /* words 1..7 */
byte cons_idx;	 /* in the consumer's segment */

#ifdef NO_FLIP
#define PHASE(i) 1
#else
#define PHASE(i) (1 - ((i) / SIZE) % 2)
#endif
#ifdef OVERFILL
#define ROOM (SIZE + 1)
#else
#define ROOM SIZE
#endif
#define DISTANCE(from, to) (((to) + WRAP - (from)) % WRAP)

active proctype producer()
{
	byte idx = 0, cached = 0, seq = 0;

	do
	:: seq == SLOTS -> break
	:: else ->
		if
		:: DISTANCE(cached, idx) >= ROOM ->
			DISTANCE(cons_idx, idx) < ROOM; /* blocks while full */
			cached = cons_idx
		:: else
		fi;
		assert(DISTANCE(cached, idx) < ROOM);
#ifdef HEAD_FIRST
		head[idx % SIZE] = PHASE(idx);
		body[idx % SIZE] = seq;
#else
		body[idx % SIZE] = seq;
		head[idx % SIZE] = PHASE(idx);
#endif
		idx = (idx + 1) % WRAP;
		seq++
	od
}

active proctype consumer()
{
	byte idx = 0, seq = 0, copy;

	do
	:: seq == SLOTS -> break
	:: else ->
		if
		:: head[idx % SIZE] == PHASE(idx)
		:: else ->
			cons_idx = idx;
			head[idx % SIZE] == PHASE(idx) /* blocks while empty */
		fi;
#ifdef PUBLISH_EARLY
		cons_idx = (idx + 1) % WRAP;
#endif
		copy = body[idx % SIZE];
		assert(copy == seq);
		idx = (idx + 1) % WRAP;
		seq++;
		if
		:: cons_idx = idx
		:: skip
		fi
	od;
	assert(head[idx % SIZE] != PHASE(idx)) /* nothing is left over */
}
