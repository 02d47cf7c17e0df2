#include "sim_fail.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void sim_fail(const char *fmt, ...)
{
	va_list args;

	fflush(stdout);
	fputs("sim: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	abort();
}
