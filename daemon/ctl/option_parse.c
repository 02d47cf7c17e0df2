/* How one value is read: option_parse() and what it accepts. Every parser checks the whole
 * text and writes its field only when all of it is right. */
#include "options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The drivers that `device` may name, beside PCI addresses. */
static const char *const device_drivers[] = {"net_tap", "net_af_packet", "net_af_xdp", "net_memif",
	"net_vhost", "net_virtio_user", "net_pcap", "net_ring", "net_null", NULL};

/* Decimal digits only; stops at the first other character. */
static bool parse_u64(const char **text, uint64_t max, uint64_t *out)
{
	const char *p = *text;
	uint64_t value = 0;

	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++) {
		uint64_t digit = (uint64_t)(*p - '0');

		if (value > (UINT64_MAX - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*text = p;
	*out = value;
	return value <= max;
}

static int store_unsigned(void *field, size_t width, uint64_t value)
{
	if (width == 2 && value <= UINT16_MAX)
		*(uint16_t *)field = (uint16_t)value;
	else if (width == 4 && value <= UINT32_MAX)
		*(uint32_t *)field = (uint32_t)value;
	else if (width == 8)
		*(uint64_t *)field = value;
	else
		return -EINVAL;
	return 0;
}

static int parse_number(const struct option *o, void *field, const char *text)
{
	uint64_t scale = o->scale ? o->scale : 1;
	uint64_t value;

	if (!parse_u64(&text, o->max, &value) || *text != '\0' || value < o->min)
		return -EINVAL;
	if (o->type == OPTION_POWER_OF_2 && (value & (value - 1)) != 0)
		return -EINVAL;
	return store_unsigned(field, o->width, value * scale);
}

static int parse_size(const struct option *o, void *field, const char *text)
{
	static const char suffixes[] = "KMG";
	uint64_t value;
	const char *suffix;

	if (!parse_u64(&text, o->max, &value))
		return -EINVAL;
	if (*text != '\0') {
		suffix = strchr(suffixes, *text);
		if (suffix == NULL || text[1] != '\0')
			return -EINVAL;
		value <<= 10 * (suffix - suffixes + 1); /* value <= max: far from overflow */
	}
	if (value < o->min || value > o->max)
		return -EINVAL;
	return store_unsigned(field, o->width, value);
}

static int parse_bool(void *field, const char *text)
{
	static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(text, words[i]) == 0) {
			*(bool *)field = i & 1;
			return 0;
		}
	}
	return -EINVAL;
}

static int parse_choice(const struct option *o, void *field, const char *text)
{
	size_t len = strlen(text);
	uint32_t number = (uint32_t)o->min;

	for (const char *word = o->choices; word != NULL; number++) {
		const char *end = strchr(word, '|');
		size_t word_len = end ? (size_t)(end - word) : strlen(word);

		if (word_len == len && memcmp(word, text, len) == 0) {
			*(uint32_t *)field = number;
			return 0;
		}
		word = end ? end + 1 : NULL;
	}
	return -EINVAL;
}

static int parse_text(const struct option *o, char *field, const char *text)
{
	size_t len = strlen(text);

	if (len >= o->width)
		return -EINVAL;
	memcpy(field, text, len + 1);
	return 0;
}

static bool is_pci_address(const char *text)
{
	unsigned int domain, bus, device, function;
	int used = 0;

	if (sscanf(text, "%4x:%2x:%2x.%1x%n", &domain, &bus, &device, &function, &used) == 4)
		return text[used] == '\0' || text[used] == ',';
	used = 0;
	if (sscanf(text, "%2x:%2x.%1x%n", &bus, &device, &function, &used) == 3)
		return text[used] == '\0' || text[used] == ',';
	return false;
}

/* net_tap0,iface=x: a known driver, a number, and perhaps arguments. */
static bool is_virtual_device(const char *text)
{
	for (size_t i = 0; device_drivers[i] != NULL; i++) {
		size_t len = strlen(device_drivers[i]);
		size_t digits;

		if (strncmp(text, device_drivers[i], len) != 0)
			continue;
		digits = strspn(text + len, "0123456789");
		if (digits > 0 && (text[len + digits] == '\0' || text[len + digits] == ','))
			return true;
	}
	return false;
}

static int parse_device(const struct option *o, char *field, const char *text)
{
	if (!is_pci_address(text) && !is_virtual_device(text))
		return -EINVAL;
	return parse_text(o, field, text);
}

/* Of either family. IPv4-mapped notation is neither. */
static int parse_ip(const char *text, struct net_addr *addr)
{
	struct in_addr ip;

	if (inet_pton(AF_INET, text, &ip) == 1) {
		*addr = net_addr_from_ip4(ip.s_addr);
		return 0;
	}
	if (inet_pton(AF_INET6, text, addr->b) != 1 || net_addr_is_ip4(addr))
		return -EINVAL;
	return 0;
}

static int parse_prefix(char *item, struct config_addr *out)
{
	char *slash = strchr(item, '/');
	const char *bits_text;
	uint64_t bits;

	if (slash == NULL)
		return -EINVAL;
	*slash = '\0';
	bits_text = slash + 1;
	if (!parse_u64(&bits_text, 128, &bits) || *bits_text != '\0' || bits == 0)
		return -EINVAL;
	out->prefix_len = (uint8_t)bits;
	if (parse_ip(item, &out->addr) < 0)
		return -EINVAL;
	return net_addr_is_ip4(&out->addr) && bits > 32 ? -EINVAL : 0;
}

/* Cuts the next item of a comma-separated list out of *rest, without blanks around it. */
static char *next_item(char **rest)
{
	char *item = strsep(rest, ",");
	size_t len;

	if (item == NULL)
		return NULL;
	item += strspn(item, " \t");
	len = strlen(item);
	while (len > 0 && (item[len - 1] == ' ' || item[len - 1] == '\t'))
		item[--len] = '\0';
	return item;
}

static int parse_addr_list(struct config *c, char *copy)
{
	struct config_addr addrs[CONFIG_ADDRS_MAX];
	uint32_t count = 0;
	char *item;

	while ((item = next_item(&copy)) != NULL) {
		if (count == CONFIG_ADDRS_MAX || parse_prefix(item, &addrs[count]) < 0)
			return -EINVAL;
		count++;
	}
	memcpy(c->addrs, addrs, count * sizeof(addrs[0]));
	c->addr_count = count;
	return 0;
}

/* No bit behind the prefix may be set: whoever writes 10.0.0.1/8 means something else. */
static bool is_prefix(const struct net_prefix_rule *r)
{
	for (unsigned int bit = r->prefix_len; bit < 128; bit++)
		if (r->prefix.b[bit / 8] & 0x80 >> bit % 8)
			return false;
	return true;
}

/* "PREFIX/LENGTH NAME" */
static int parse_route(const struct option *o, char *item, struct net_prefix_rule *out)
{
	char *name = strpbrk(item, " \t"), *slash = strchr(item, '/');
	struct option choice = {.choices = o->choices};
	const char *bits_text;
	uint32_t value;
	uint64_t bits;

	if (name == NULL || slash == NULL || slash > name)
		return -EINVAL;
	*name++ = '\0';
	*slash = '\0';
	bits_text = slash + 1;
	if (!parse_u64(&bits_text, 128, &bits) || *bits_text != '\0' ||
		parse_ip(item, &out->prefix) < 0 ||
		parse_choice(&choice, &value, name + strspn(name, " \t")) < 0)
		return -EINVAL;
	if (net_addr_is_ip4(&out->prefix) && (bits += 96) > 128)
		return -EINVAL;
	out->prefix_len = (uint8_t)bits;
	out->value = (uint8_t)value;
	return is_prefix(out) ? 0 : -EINVAL;
}

/* Each prefix once. */
static int parse_routes(struct config *c, char *copy)
{
	const struct option *o = option_find("route", "congestion_control");
	struct net_prefix_rule routes[CONFIG_ROUTES_MAX];
	uint32_t count = 0;
	char *item;

	while ((item = next_item(&copy)) != NULL) {
		if (count == CONFIG_ROUTES_MAX || parse_route(o, item, &routes[count]) < 0)
			return -EINVAL;
		for (uint32_t i = 0; i < count; i++) {
			if (net_addr_equal(&routes[i].prefix, &routes[count].prefix) &&
				routes[i].prefix_len == routes[count].prefix_len)
				return -EINVAL;
		}
		count++;
	}
	memcpy(c->routes, routes, count * sizeof(routes[0]));
	c->route_count = count;
	return 0;
}

/* At most one of each family. */
static int parse_gateways(struct config *c, char *copy)
{
	struct net_addr gateway[2] = {0}; /* IPv4, IPv6 */
	char *item;

	while ((item = next_item(&copy)) != NULL) {
		struct net_addr addr, *to;

		if (parse_ip(item, &addr) < 0)
			return -EINVAL;
		to = &gateway[net_addr_is_ip4(&addr) ? 0 : 1];
		if (!net_addr_is_any(to))
			return -EINVAL;
		*to = addr;
	}
	c->gateway = gateway[0];
	c->gateway6 = gateway[1];
	return 0;
}

static int parse_mac(struct config *c, const char *text)
{
	unsigned int b[6];
	int used = 0;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
		    &used) != 6 ||
		text[used] != '\0' || strlen(text) != 17)
		return -EINVAL;
	if (b[0] & 1) /* a group address */
		return -EINVAL;
	for (int i = 0; i < 6; i++)
		c->port.mac[i] = (uint8_t)b[i];
	c->port.mac_given = true;
	return 0;
}

/* "A" or "A-B". */
static bool parse_range(const char *text, uint64_t max, uint64_t *first, uint64_t *last)
{
	if (!parse_u64(&text, max, first))
		return false;
	*last = *first;
	if (*text == '-') {
		text++;
		if (!parse_u64(&text, max, last))
			return false;
	}
	return *text == '\0' && *first <= *last;
}

static bool cores_append(int32_t *cores, uint32_t *count, int32_t core)
{
	for (uint32_t i = 0; i < *count; i++) {
		if (cores[i] == core)
			return false;
	}
	if (*count == CONFIG_ENGINES_MAX)
		return false;
	cores[(*count)++] = core;
	return true;
}

static int parse_cores(struct config *c, char *copy)
{
	int32_t cores[CONFIG_ENGINES_MAX];
	uint32_t count = 0;
	uint64_t first, last;
	char *item;

	if (strcmp(copy, "any") == 0) {
		c->cores[0] = -1;
		c->engine_count = 1;
		return 0;
	}
	while ((item = next_item(&copy)) != NULL) {
		if (!parse_range(item, 1023, &first, &last))
			return -EINVAL;
		for (uint64_t core = first; core <= last; core++) {
			if (!cores_append(cores, &count, (int32_t)core))
				return -EINVAL;
		}
	}
	memcpy(c->cores, cores, count * sizeof(cores[0]));
	c->engine_count = count;
	return 0;
}

static int parse_port_range(const struct option *o, void *field, const char *text)
{
	uint16_t *range = field;
	uint64_t first, last;

	if (!parse_range(text, o->max, &first, &last) || first < o->min)
		return -EINVAL;
	range[0] = (uint16_t)first;
	range[1] = (uint16_t)last;
	return 0;
}

/* The list parsers cut their text into pieces: they get a copy. */
static int parse_list(
	struct config *c, const char *text, int (*parse)(struct config *c, char *copy))
{
	char *copy = strdup(text);
	int err;

	if (copy == NULL)
		return -ENOMEM;
	err = parse(c, copy);
	free(copy);
	return err;
}

int option_parse(const struct option *o, struct config *c, const char *value)
{
	void *field = (uint8_t *)c + o->offset;

	switch (o->type) {
	case OPTION_TEXT:
		return parse_text(o, field, value);
	case OPTION_PATH:
		return value[0] == '/' ? parse_text(o, field, value) : -EINVAL;
	case OPTION_DEVICE:
		return parse_device(o, field, value);
	case OPTION_NUMBER:
	case OPTION_POWER_OF_2:
		return parse_number(o, field, value);
	case OPTION_SIZE:
		return parse_size(o, field, value);
	case OPTION_BOOL:
		return parse_bool(field, value);
	case OPTION_CHOICE:
		return parse_choice(o, field, value);
	case OPTION_GATEWAYS:
		return parse_list(c, value, parse_gateways);
	case OPTION_ADDR_LIST:
		return parse_list(c, value, parse_addr_list);
	case OPTION_MAC:
		return parse_mac(c, value);
	case OPTION_ROUTES:
		return parse_list(c, value, parse_routes);
	case OPTION_CORES:
		return parse_list(c, value, parse_cores);
	case OPTION_PORT_RANGE:
		return parse_port_range(o, field, value);
	}
	return -EINVAL;
}

/* 64K rather than 65536 where that is exact. */
static void print_size(char *buf, size_t size, uint64_t bytes)
{
	static const char suffixes[] = "GMK";

	for (int i = 0; i < 3; i++) {
		unsigned int shift = 30 - 10 * (unsigned int)i;

		if (bytes >> shift << shift == bytes && bytes != 0) {
			snprintf(buf, size, "%llu%c", (unsigned long long)(bytes >> shift),
				suffixes[i]);
			return;
		}
	}
	snprintf(buf, size, "%llu", (unsigned long long)bytes);
}

static void accepted_devices(char *buf, size_t size)
{
	size_t len = (size_t)snprintf(buf, size, "a PCI address or one of");

	for (size_t i = 0; device_drivers[i] != NULL && len < size; i++)
		len += (size_t)snprintf(
			buf + len, size - len, "%s %sN", i ? "," : "", device_drivers[i]);
	if (len < size)
		snprintf(buf + len, size - len, " with arguments, under 256 characters");
}

static void accepted_sizes(const struct option *o, char *buf, size_t size)
{
	char min[32], max[32];

	print_size(min, sizeof(min), o->min);
	print_size(max, sizeof(max), o->max);
	snprintf(buf, size, "bytes from %s to %s, suffix K, M or G", min, max);
}

const char *option_accepted(const struct option *o, char *buf, size_t size)
{
	unsigned long long min = o->min, max = o->max;

	switch (o->type) {
	case OPTION_TEXT:
		snprintf(buf, size, "text of at most %u characters", o->width - 1u);
		break;
	case OPTION_PATH:
		snprintf(buf, size, "an absolute path of at most %u characters", o->width - 1u);
		break;
	case OPTION_DEVICE:
		accepted_devices(buf, size);
		break;
	case OPTION_NUMBER:
		snprintf(buf, size, "a number from %llu to %llu", min, max);
		break;
	case OPTION_POWER_OF_2:
		snprintf(buf, size, "a power of two from %llu to %llu", min, max);
		break;
	case OPTION_SIZE:
		accepted_sizes(o, buf, size);
		break;
	case OPTION_BOOL:
		snprintf(buf, size, "yes or no");
		break;
	case OPTION_CHOICE:
		snprintf(buf, size, "%s", o->choices);
		break;
	case OPTION_GATEWAYS:
		snprintf(buf, size, "an IPv4 address, an IPv6 address, or both, comma separated");
		break;
	case OPTION_ADDR_LIST:
		snprintf(buf, size, "addresses with prefix length, comma separated, 1 to %d",
			CONFIG_ADDRS_MAX);
		break;
	case OPTION_ROUTES:
		snprintf(buf, size, "different prefixes, each with %s, comma separated, at most %d",
			o->choices, CONFIG_ROUTES_MAX);
		break;
	case OPTION_MAC:
		snprintf(buf, size, "a unicast MAC address as 02:00:00:00:00:01");
		break;
	case OPTION_CORES:
		snprintf(buf, size, "'any', or up to %d different CPUs as 1-3,5",
			CONFIG_ENGINES_MAX);
		break;
	case OPTION_PORT_RANGE:
		snprintf(buf, size, "a range FIRST-LAST within %llu-%llu", min, max);
		break;
	}
	return buf;
}
