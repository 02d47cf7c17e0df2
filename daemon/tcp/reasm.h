/* What a connection has received out of order: sorted, disjoint, non-adjacent ranges.
 *
 * Only the positions live here; the bytes are the engine's (tcp_ops.rx_store). The block is
 * allocated when the first gap opens and freed when the last one closes, so that a connection
 * without loss pays four bytes for it. All ranges lie behind rcv_nxt:
 *
 *     rcv_nxt          start0      end0        start1   end1           fin_pos
 *     |--- gap --------|== kept ===|--- gap ---|== kept =|--- gap ------|
 *
 * The first bytes to arrive win: a later segment only fills the gaps, which input walks with
 * tcp_reasm_gap(). At most TCP_REASM_RANGES ranges are kept; what would make one more is
 * refused, neither acknowledged nor SACKed, and the peer sends it again. A FIN that arrives
 * beyond a gap is kept as `fin_pos`.
 *
 * What the peer is told of it (RFC 2018 section 4) begins with the range that grew last, then
 * come those before it: `recent_pos` names a byte of each.
 */
#ifndef TCP_REASM_H
#define TCP_REASM_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	TCP_REASM_RANGES = 32,
	TCP_REASM_RECENT = 4,
};

struct tcp_reasm_range {
	uint64_t start_pos;
	uint64_t end_pos; /* exclusive */
};

struct tcp_reasm {
	uint64_t fin_pos; /* where the peer's stream ends; UINT64_MAX: not known */
	uint32_t count;
	uint32_t recent_count;
	uint64_t recent_pos[TCP_REASM_RECENT]; /* latest first; their ranges may be gone */
	struct tcp_reasm_range range[TCP_REASM_RANGES];
};
static_assert(sizeof(struct tcp_reasm) == 16 + 8 * TCP_REASM_RECENT + 16 * TCP_REASM_RANGES,
	"no padding");

void tcp_reasm_init(struct tcp_reasm *r);

/* The first part of [start, end) that no range covers: true with *gap set, false if none. */
bool tcp_reasm_gap(const struct tcp_reasm *r, uint64_t start_pos, uint64_t end_pos,
	struct tcp_reasm_range *gap);

/* True if a range that begins at start_pos, which no range covers, can be added: it continues
 * a range, or there is room for one more. */
bool tcp_reasm_has_room(const struct tcp_reasm *r, uint64_t start_pos);

/* Adds [start, end), not empty, which no range covers and for which there is room; merges it
 * with the neighbours it touches. */
void tcp_reasm_add(struct tcp_reasm *r, uint64_t start_pos, uint64_t end_pos);

/* In-order data has reached pos: drops the range that this touches, if any, and returns how far
 * the data is contiguous now (pos itself if no range begins there). No range may start
 * before pos. */
uint64_t tcp_reasm_advance(struct tcp_reasm *r, uint64_t pos);

/* A segment that begins at pos, which a range covers, has just arrived. */
void tcp_reasm_note(struct tcp_reasm *r, uint64_t pos);

/* At most `max` ranges, the one that the latest segment lies in first; returns how many. */
uint32_t tcp_reasm_report(const struct tcp_reasm *r, struct tcp_reasm_range *out, uint32_t max);

/* The first part of [start, end) that a range covers: true with *part set, false if none. */
bool tcp_reasm_overlap(const struct tcp_reasm *r, uint64_t start_pos, uint64_t end_pos,
	struct tcp_reasm_range *part);

#endif
