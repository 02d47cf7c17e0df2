/* What the probe and its peer share: the request that opens each connection, and the pattern of
 * the bytes that follow.
 *
 * Each of both is built twice, on mtcpd's library and on the kernel's calls. The shell test runs
 * a probe of one kind against a peer of the other, so that the same expectations are put to
 * both: what fails on the kernel is a mistake of the test.
 *
 *	probe ---- struct request ----> peer      then what the mode says:
 *
 *	ECHO     what comes is sent back until the end, which is answered by the end
 *	SOURCE   `bytes` of the pattern, then the end
 *	SINK     the pattern is read, slowly if delay_ms: nothing before that, and checked;
 *	         answered after the end with how much it was (uint64_t)
 *	RESET    the peer resets the connection at once
 *	RECORD   as SINK, without an answer; how it ended can be asked for
 *	HOLD     nothing is read, and the connection is closed only after delay_ms
 *	RECALL   sends the struct record of the last RECORD that is over
 *	OPEN     after delay_ms the gate is opened to the `bytes` connections that wait there, or
 *	         come to do so: those whose delay_ms is GATE
 */
#ifndef NATIVE_NATIVE_H
#define NATIVE_NATIVE_H

#include <stddef.h>
#include <stdint.h>

enum mode {
	MODE_ECHO = 'E',
	MODE_SOURCE = 'S',
	MODE_SINK = 'K',
	MODE_RESET = 'R',
	MODE_RECORD = 'C',
	MODE_RECALL = 'L',
	MODE_HOLD = 'H',
	MODE_OPEN = 'O',
};

#define GATE UINT32_MAX /* a delay that lasts until the probe ends it */

struct request {
	uint32_t mode;
	uint32_t seed;
	uint64_t bytes;
	uint32_t delay_ms;
	uint32_t reserved;
};

struct record {
	uint64_t bytes;
	uint32_t error;	  /* 0: ended in order, else an errno */
	uint32_t differs; /* bytes were not those of the pattern */
	uint64_t count;	  /* of RECORD connections that are over */
};

static inline uint8_t pattern_byte(uint32_t seed, uint64_t pos)
{
	return (uint8_t)(seed + pos * 167 + (pos >> 8) * 13 + (pos >> 16) * 7);
}

static inline void pattern_fill(uint32_t seed, uint64_t pos, uint8_t *to, size_t len)
{
	for (size_t i = 0; i < len; i++)
		to[i] = pattern_byte(seed, pos + i);
}

static inline int pattern_differs(uint32_t seed, uint64_t pos, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i] != pattern_byte(seed, pos + i))
			return 1;
	return 0;
}

#endif
