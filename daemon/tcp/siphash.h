/* SipHash (Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012), a keyed hash that
 * an opponent who chooses the inputs can neither predict nor steer.
 *
 * SipHash-2-4 guards secrets that leave the machine (initial sequence numbers, cookies,
 * timestamp offsets); SipHash-1-3 places flows in the table, where only timing leaks.
 * Verified against the test vectors of the reference implementation.
 */
#ifndef TCP_SIPHASH_H
#define TCP_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t tcp_siphash24(const uint8_t key[16], const void *data, size_t len_bytes);
/* The key of number `number` that follows from *master: the numbers of a clock make keys that
 * rotate, and that all engines have in common without a word between them. */
void tcp_siphash_key(const uint8_t master[16], uint64_t number, uint8_t key[16]);
/* Of the twelve bytes of `first` and `rest`, as they lie in memory. */
uint64_t tcp_siphash13_twelve(const uint8_t key[16], uint64_t first, uint32_t rest);
uint64_t tcp_siphash24_twelve(const uint8_t key[16], uint64_t first, uint32_t rest);
uint64_t tcp_siphash13(const uint8_t key[16], const void *data, size_t len_bytes);

#endif
