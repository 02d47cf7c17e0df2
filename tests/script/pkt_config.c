#include "pkt_config.h"

#include "pkt_world.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#define TCP(field)                                                                                 \
	{                                                                                          \
#field, offsetof(struct sim_host_config, tcp.field),                               \
			sizeof(((struct tcp_config *)0)->field)                                    \
	}
#define LIMIT(field)                                                                               \
	{                                                                                          \
#field, offsetof(struct sim_host_config, limits.field),                            \
			sizeof(((struct engine_limits *)0)->field)                                 \
	}

static const struct {
	const char *name;
	size_t offset, bytes;
} settings[] = {
	{"mtu_bytes", offsetof(struct sim_host_config, mtu_bytes), sizeof(uint16_t)},
	TCP(mss_max_bytes),
	TCP(mss_min_bytes),
	TCP(tso_max_bytes),
	TCP(rto_min_us),
	TCP(rto_max_us),
	TCP(rto_initial_us),
	TCP(delack_us),
	TCP(msl_us),
	TCP(fin_wait_2_us),
	TCP(keepalive_idle_us),
	TCP(keepalive_intvl_us),
	TCP(keepalive_probes),
	TCP(syn_retries),
	TCP(synack_retries),
	TCP(data_retries),
	TCP(orphan_retries),
	TCP(mtu_probing),
	TCP(rcvbuf_bytes),
	TCP(rcvbuf_max_bytes),
	TCP(challenge_ack_per_s),
	TCP(timestamps),
	TCP(fastopen),
	TCP(window_scale),
	TCP(sack),
	TCP(ecn),
	TCP(cc),
	TCP(mss6_max_bytes),
	LIMIT(conns_max),
	LIMIT(halves_max),
	LIMIT(tws_max),
	LIMIT(sndbuf_bytes),
	LIMIT(sndbuf_max_bytes),
	LIMIT(orphan_timeout_s),
};

enum {
	SETTINGS = sizeof(settings) / sizeof(settings[0]),
};

static size_t find(const char *name)
{
	size_t i = 0;

	while (i < SETTINGS && strcmp(settings[i].name, name) != 0)
		i++;
	return i;
}

bool pkt_config_knows(const char *name)
{
	return find(name) < SETTINGS;
}

void pkt_config_set(struct pkt_world *w, const char *name, int64_t value)
{
	size_t i = find(name);
	uint8_t *at = (uint8_t *)&w->host_cfg + settings[i].offset;

	assert(i < SETTINGS);
	memcpy(at, &value, settings[i].bytes); /* little-endian, as all that DPDK runs on here */
}
