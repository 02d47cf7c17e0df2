/* Gathers what each engine tells of the same thing into one item.
 *
 * Items with equal key fields become one: the fields to sum are summed, those of a boolean
 * kind are true if any is, the others are kept from the first item that has them. What
 * identifies the engine is dropped.
 */
#ifndef MTCPCTL_MERGE_H
#define MTCPCTL_MERGE_H

#include <jansson.h>

enum {
	MERGE_KEYS_MAX = 4,
	MERGE_SUMS_MAX = 12,
};

struct merge_rule {
	const char *keys[MERGE_KEYS_MAX]; /* NULL-terminated, as the next */
	const char *sums[MERGE_SUMS_MAX];
};

struct merge {
	const struct merge_rule *rule;
	json_t *by_key; /* the items, in the order of their first mention */
};

void merge_init(struct merge *m, const struct merge_rule *rule);
void merge_add(struct merge *m, json_t *item); /* takes the reference */
void merge_fini(struct merge *m);

#endif
