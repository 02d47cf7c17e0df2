/* The table of every configuration key, and what one value may be.
 *
 * One row a key: where it is, what type, which bounds, what default, where it goes in struct
 * config, and a sentence for people. Reading a file, --help and the example file all come from
 * this table, so that none of them can disagree. A default is text like that of a file and
 * goes through the same parser.
 */
#ifndef CTL_OPTIONS_H
#define CTL_OPTIONS_H

#include "config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_type {
	OPTION_TEXT,	   /* field: char[width] */
	OPTION_PATH,	   /* the same, absolute */
	OPTION_DEVICE,	   /* the same, a port's device */
	OPTION_NUMBER,	   /* field: unsigned of width bytes, value * scale */
	OPTION_POWER_OF_2, /* the same, of a power of two */
	OPTION_SIZE,	   /* the same, bytes with suffix K, M or G */
	OPTION_BOOL,	   /* field: bool */
	OPTION_CHOICE,	   /* field: uint32_t, the choice's number plus min */
	OPTION_GATEWAYS,   /* field: config.gateway and gateway6 */
	OPTION_ADDR_LIST,  /* field: config.addrs and addr_count */
	OPTION_MAC,	   /* field: port.mac */
	OPTION_ROUTES,	   /* field: config.routes and route_count */
	OPTION_CORES,	   /* field: config.cores and engine_count */
	OPTION_PORT_RANGE, /* field: uint16_t[2] */
};

struct option {
	const char *section;
	const char *key;
	enum option_type type;
	uint16_t width;
	size_t offset;
	uint64_t min, max;
	uint64_t scale;	     /* 0 is 1 */
	const char *choices; /* OPTION_CHOICE: "a|b|c" */
	const char *value;   /* the default; NULL: unset */
	const char *example; /* shown where the default is unset */
	const char *text;
};

extern const struct option option_table[];
extern const size_t option_count;

/* NULL if there is none. */
const struct option *option_find(const char *section, const char *key);
bool option_section_exists(const char *section);

/* Parses `value` into its field of *c. 0; or -EINVAL, and *c is as it was. */
int option_parse(const struct option *o, struct config *c, const char *value);

/* What the option takes, for people: "a number from 1 to 64". Returns buf. */
const char *option_accepted(const struct option *o, char *buf, size_t size);

#endif
