/* --set NAME=VALUE: fields of struct tcp_config, and the link's MTU. */
#ifndef PKT_CONFIG_H
#define PKT_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

struct pkt_world;

bool pkt_config_knows(const char *name);
void pkt_config_set(struct pkt_world *w, const char *name, int64_t value);

#endif
