/* Device strings: what the operator wrote, and what the number of engines and the MTU add to
 * it, so that nobody has to repeat them as a driver's arguments. An argument that the operator
 * gave stands. */
#include "internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

bool nic_device_is_pci(const char *device)
{
	return isxdigit((unsigned char)device[0]) && strchr(device, ':') != NULL &&
	       strncmp(device, "net_", 4) != 0;
}

int nic_device_name(char *out, size_t size, const char *device)
{
	int len = (int)strcspn(device, ",");
	bool short_pci = nic_device_is_pci(device) &&
			 memchr(device, ':', (size_t)len) == strrchr(device, ':');

	len = snprintf(out, size, "%s%.*s", short_pci ? "0000:" : "", len, device);
	return len < 0 || (size_t)len >= size ? -ENAMETOOLONG : 0;
}

static bool has_argument(const char *device, const char *key)
{
	size_t len = strlen(key);

	for (const char *p = strchr(device, ','); p != NULL; p = strchr(p + 1, ',')) {
		if (strncmp(p + 1, key, len) == 0 && p[1 + len] == '=')
			return true;
	}
	return false;
}

static int add_argument(char *device, size_t size, const char *key, uint32_t value)
{
	size_t len = strlen(device);
	int added;

	if (has_argument(device, key))
		return 0;
	added = snprintf(device + len, size - len, ",%s=%u", key, value);
	return added < 0 || (size_t)added >= size - len ? -ENAMETOOLONG : 0;
}

static int complete_af_packet(char *device, size_t size, const struct nic_port_config *cfg)
{
	uint32_t slot = nic_data_room(cfg->mtu_bytes); /* no more: a slot must fit an mbuf */
	uint32_t block = slot > 4096 ? slot : 65536;
	int err = add_argument(device, size, "qpairs", cfg->queues);

	if (err == 0)
		err = add_argument(device, size, "qdisc_bypass", 1);
	if (err < 0 || has_argument(device, "framesz") || has_argument(device, "blocksz") ||
		has_argument(device, "framecnt"))
		return err;
	err = add_argument(device, size, "blocksz", block);
	if (err == 0)
		err = add_argument(device, size, "framesz", slot);
	if (err == 0)
		err = add_argument(device, size, "framecnt", 2048);
	return err;
}

/* The library then asks its peers for what it offers here, and hands over frames that they have
 * merged in one piece. */
static int complete_vhost(char *device, size_t size, const struct nic_port_config *cfg)
{
	int err = cfg->queues > 1 ? add_argument(device, size, "queues", cfg->queues) : 0;

	if (err == 0 && cfg->offload)
		err = add_argument(device, size, "tso", 1);
	if (err == 0)
		err = add_argument(device, size, "linear-buffer", 1);
	return err == 0 ? add_argument(device, size, "ext-buffer", 1) : err;
}

int nic_device_complete(char *out, size_t size, const struct nic_port_config *cfg)
{
	const char *device = cfg->device;
	int len = snprintf(out, size, "%s", device);

	if (len < 0 || (size_t)len >= size)
		return -ENAMETOOLONG;
	if (strncmp(device, "net_af_packet", 13) == 0)
		return complete_af_packet(out, size, cfg);
	if (strncmp(device, "net_vhost", 9) == 0)
		return complete_vhost(out, size, cfg);
	if (cfg->queues > 1 && strncmp(device, "net_af_xdp", 10) == 0)
		return add_argument(out, size, "queue_count", cfg->queues);
	if (cfg->queues > 1 && strncmp(device, "net_virtio_user", 15) == 0)
		return add_argument(out, size, "queues", cfg->queues);
	return 0;
}
