/* Finding the C library's functions: see real.h. */
#include "real.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct pl_real pl_real_table;
_Atomic bool pl_real_filled;

static const struct {
	const char *name;
	size_t offset;
} pl_real_names[] = {
#define PL_REAL_NAME(ret, name, args) {#name, offsetof(struct pl_real, name)},
	PL_REAL_LIST(PL_REAL_NAME)
#undef PL_REAL_NAME
};

static void missing(const char *name)
{
	fprintf(stderr, "libmtcp-preload: the C library has no %s()\n", name);
	abort();
}

void pl_real_fill(void)
{
	for (size_t i = 0; i < sizeof(pl_real_names) / sizeof(pl_real_names[0]); i++) {
		void *fn = dlsym(RTLD_NEXT, pl_real_names[i].name);

		if (!fn)
			missing(pl_real_names[i].name);
		memcpy((char *)&pl_real_table + pl_real_names[i].offset, &fn, sizeof(fn));
	}
	/* release: pairs with the acquire in pl_real() */
	atomic_store_explicit(&pl_real_filled, true, memory_order_release);
}
