/* One host, set up and torn down: what most tests of daemon/tcp begin and end with. */
#ifndef TEST_TCP_SINGLE_H
#define TEST_TCP_SINGLE_H

#include "host.h"

static struct host h;

/* An established connection with a window to send. */
static inline int host_setup(void **state)
{
	(void)state;
	host_init(&h);
	host_establish(&h, (struct host_open){.wnd = 60000});
	return 0;
}

static inline int host_teardown(void **state)
{
	(void)state;
	host_fini(&h);
	return 0;
}

#endif
