/* A request of mtcpctl under way, as the show_*.c files see it; nobody else includes this. */
#ifndef CTL_SHOW_STATE_H
#define CTL_SHOW_STATE_H

#include <ctl/show.h>
#include <engine/engine.h>
#include <net/addr.h>

#include <stdbool.h>
#include <stdint.h>

/* What a flow must be to be shown; zero: whatever it is. */
struct show_filter {
	struct show_prefix {
		struct net_addr addr;
		uint8_t bits; /* of 128; 0: any */
	} src, dst, addr;     /* addr, port: of either end */
	uint16_t sport, dport, port;
	uint32_t states; /* bits of 1 << enum tcp_state; 0: any */
	uint32_t session;
	int32_t pid;
};

struct show {
	struct server *s;
	struct control *c; /* NULL: cancelled, frees itself when the engine answers */
	const struct show_cmd *cmd;
	uint64_t count, count_max;
	bool brief; /* no more of a flow than a line of text shows */
	struct show_filter filter;
	/* where it is */
	uint32_t stage;
	uint32_t table_cursor;
	uint32_t engine;
	uint64_t cursor;
	/* the list command that goes to and fro */
	struct engine_msg *msg;
	bool asked, answered;
};

typedef enum show_result (*show_step_fn)(struct show *w, struct out *o);
typedef void (*show_emit_fn)(struct show *w, struct out *o, const struct engine_msg *m, uint32_t i);

/* Lists from every engine in turn: `emit` is called for each entry of each batch. */
enum show_result show_from_engines(
	struct show *w, struct out *o, enum engine_msg_type type, show_emit_fn emit);

/* Adds an item's line. */
void show_item(struct show *w, struct out *o, json_t *obj);

/* Sets the filter from a request; unknown keys and bad values are errors: a static string. */
const char *show_filter_parse(struct show *w, const json_t *request);
bool show_filter_match(const struct show_filter *f, const struct engine_flow_info *flow);

json_t *show_addr(const struct net_addr *a); /* "10.0.0.1", "::1"; any: "*", of IPv4: "0.0.0.0" */

enum show_result show_flow(struct show *w, struct out *o);
enum show_result show_listen(struct show *w, struct out *o);
enum show_result show_client(struct show *w, struct out *o);
enum show_result show_engine(struct show *w, struct out *o);
enum show_result show_port(struct show *w, struct out *o);
enum show_result show_neigh(struct show *w, struct out *o);
enum show_result show_counters(struct show *w, struct out *o);
enum show_result show_agent(struct show *w, struct out *o);
enum show_result show_version(struct show *w, struct out *o);

#endif
