/* Names of constants and errors that scripts use. */
#ifndef PKT_CONST_H
#define PKT_CONST_H

#include <stdbool.h>
#include <stdint.h>

bool pkt_const(const char *name, int64_t *out);
bool pkt_errno(const char *name, int64_t *out);
/* "ECONNRESET"; "E?" if it has none here. */
const char *pkt_errno_name(int err);

#endif
