/* What the service manager is told, sd_notify(3), without its library. */
#ifndef CTL_NOTIFY_H
#define CTL_NOTIFY_H

#include <stdint.h>

/* Sends `state` ("READY=1", ...) to NOTIFY_SOCKET. 0: sent, or nobody wants to know;
 * -errno: the variable names no usable socket, or the manager does not take it. */
int notify_send(const char *state);

/* How often the manager wants WATCHDOG=1 at least (WATCHDOG_USEC), if it is us who is asked
 * (WATCHDOG_PID); 0: never. */
uint64_t notify_watchdog_us(void);

#endif
