/* See merge.h. jansson's objects keep the order of insertion. */
#include "merge.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

void merge_init(struct merge *m, const struct merge_rule *rule)
{
	*m = (struct merge){.rule = rule, .by_key = json_object()};
}

void merge_fini(struct merge *m)
{
	json_decref(m->by_key);
}

static void key_of(const struct merge_rule *rule, const json_t *item, char *key, size_t size)
{
	size_t len = 0;

	key[0] = '\0';
	for (const char *const *k = rule->keys; *k && len < size; k++) {
		const json_t *v = json_object_get(item, *k);
		const char *text = json_string_value(v);

		if (text)
			len += (size_t)snprintf(key + len, size - len, "%s|", text);
		else
			len += (size_t)snprintf(
				key + len, size - len, "%lld|", (long long)json_integer_value(v));
	}
}

static bool is_summed(const struct merge_rule *rule, const char *field)
{
	for (const char *const *s = rule->sums; *s; s++) {
		if (strcmp(*s, field) == 0)
			return true;
	}
	return false;
}

static void merge_field(struct merge *m, json_t *into, const char *field, json_t *value)
{
	json_t *have = json_object_get(into, field);

	if (!have)
		json_object_set(into, field, value);
	else if (is_summed(m->rule, field))
		json_integer_set(have, json_integer_value(have) + json_integer_value(value));
	else if (json_is_true(value))
		json_object_set(into, field, value);
}

void merge_add(struct merge *m, json_t *item)
{
	char key[256];
	const char *field;
	json_t *into, *value;

	json_object_del(item, "engine");
	key_of(m->rule, item, key, sizeof(key));
	into = json_object_get(m->by_key, key);
	if (!into) {
		json_object_set_new(m->by_key, key, item);
		return;
	}
	json_object_foreach(item, field, value)
	{
		merge_field(m, into, field, value);
	}
	json_decref(item);
}
