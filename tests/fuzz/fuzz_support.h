/* What the fuzzers of the whole engine share: reading an input, auditing an engine, its end.
 *
 * The audit knows the engine's own structures (engine/internal.h) and checks what no client or
 * peer can see: that every arena object is reachable from exactly one owner, that the receive
 * chain and the send descriptors of each connection tell of a stream without overlaps, and that
 * lists, queues and pools agree with their counts.
 */
#ifndef FUZZ_SUPPORT_H
#define FUZZ_SUPPORT_H

#include <sim/sim_client.h>
#include <sim/sim_fail.h>

#include <stddef.h>
#include <stdint.h>

/* An input, consumed from its beginning; reads zeroes past its end. */
struct fuzz_input {
	const uint8_t *at;
	size_t left;
};
uint8_t fuzz_u8(struct fuzz_input *in);
uint16_t fuzz_u16(struct fuzz_input *in);
uint32_t fuzz_u32(struct fuzz_input *in);
uint64_t fuzz_u64(struct fuzz_input *in);
/* Takes at most max bytes; returns how many, and where they are. */
size_t fuzz_bytes(struct fuzz_input *in, size_t max, const uint8_t **out);
/* 0, or a small or a wild number: what to add to a value near which bugs live. */
int64_t fuzz_delta(struct fuzz_input *in);

/* Byte of a stream at a position: both ends compute it. */
static inline uint8_t fuzz_pattern(uint32_t salt, uint64_t pos)
{
	return (uint8_t)((uint32_t)(pos * 2654435761u + salt * 40503u) >> 24);
}

/* Aborts if the engine's structures contradict each other or its limits. */
void fuzz_audit(const struct engine *e);
/* Aborts unless nothing is left in the engine but listeners and sessions with no connection. */
void fuzz_expect_empty(const struct engine *e);

#endif
