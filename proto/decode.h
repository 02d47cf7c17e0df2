/* Pure validating decoders for what a client puts into a submission slot.
 *
 * They judge the form alone: whether the operation exists, whether its flags exist, whether
 * what is reserved is zero, whether lengths and references can be. Whether the handle is the
 * client's, whether the range lies in its segment and whether the position fits its stream is
 * for the engine's gate, which has the state to tell.
 */
#ifndef PROTO_DECODE_H
#define PROTO_DECODE_H

#include <proto/attach.h>
#include <proto/slot.h>

#define PROTO_SEND_LEN_MAX (UINT32_C(1) << 30) /* bytes in one send operation */

/* Judges a slot that is a private copy, and takes the ring's phase bit off its head. Returns
 * PROTO_OK, or why the session is to be condemned (then the slot is not to be used):
 * PROTO_CONDEMNED_OP      operation, flag or reserved bit that does not exist;
 * PROTO_CONDEMNED_RANGE   length 0 or above PROTO_SEND_LEN_MAX, segment number or offset
 *                         out of any segment's range;
 * PROTO_CONDEMNED_POSITION a stream position that would pass 2^64.
 * A handle, an option number or an address is not judged: a wrong one is answered. */
int proto_op_judge(struct proto_slot *slot);

#endif
