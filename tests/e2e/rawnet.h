/* Raw Ethernet frames and a small TCP over AF_PACKET, for tests that send what no stack would.
 *
 * The host is made up: it has a MAC and an IPv4 address that the kernel of its namespace does not
 * own, so nobody else answers for it. It answers ARP for itself while it waits for segments.
 * Nothing is retransmitted but the SYN: a veth loses nothing at this rate. Errors of the socket
 * end the program.
 */
#ifndef RAWNET_H
#define RAWNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	RAW_ETH_HLEN = 14,
	RAW_IP_HLEN = 20,
	RAW_TCP_HLEN = 20,
	RAW_FRAME_MAX = 9216,
	RAW_OPTIONS_MAX = 40,
};
enum {
	RAW_FIN = 1,
	RAW_SYN = 2,
	RAW_RST = 4,
	RAW_PSH = 8,
	RAW_ACK = 16,
};

struct raw_host {
	int fd;
	int ifindex;
	uint8_t mac[6], peer_mac[6];
	uint32_t ip, peer_ip; /* host order */
};

/* A segment to be built. Zeroed fields are honest; the others lie where a case wants it. */
struct raw_segment {
	uint16_t sport, dport;
	uint32_t seq, ack;
	uint8_t flags;
	uint16_t wnd;
	const uint8_t *options;
	unsigned int options_len; /* any; padded with zeroes to words */
	const void *payload;
	unsigned int payload_len;
	unsigned int data_offset; /* words; 0: as it is */
	unsigned int ip_total;	  /* bytes; 0: as it is */
	unsigned int padding;	  /* bytes behind the packet */
	uint32_t src_ip, dst_ip;  /* 0: the hosts */
};

/* A segment received; payload points into the host's buffer until the next one. */
struct raw_arrival {
	uint32_t seq, ack;
	uint8_t flags;
	uint16_t wnd, mss; /* mss 0: no option */
	const uint8_t *payload;
	unsigned int payload_len;
};

struct raw_conn {
	struct raw_host *host;
	uint16_t sport, dport;
	uint32_t iss, irs;
	uint32_t snd_nxt, rcv_nxt;
	uint16_t mss_peer;
	unsigned int segment_max; /* largest payload received */
	bool fin, reset;
};

/* Opens interface `ifname` as host ip (host order) and asks who has peer_ip; exits if nobody. */
void raw_open(struct raw_host *h, const char *ifname, uint32_t ip, uint32_t peer_ip);

/* Builds a TCP frame with right checksums; returns its length. */
size_t raw_tcp_frame(const struct raw_host *h, const struct raw_segment *s, uint8_t *frame);
/* An ARP packet of operation op (1 request, 2 reply), sender `ip`/`mac`, to the peer. */
size_t raw_arp_frame(const struct raw_host *h, uint16_t op, uint32_t ip, const uint8_t mac[6],
	uint32_t target_ip, uint8_t *frame);
void raw_send(const struct raw_host *h, const void *frame, size_t len);
void raw_send_tcp(const struct raw_host *h, const struct raw_segment *s);

/* Sends `count` frames, which `make` builds one after the other, in batches as fast as the
 * interface takes them. Returns the microseconds that it took. */
uint64_t raw_flood(const struct raw_host *h, uint32_t count,
	size_t (*make)(const struct raw_host *h, uint32_t i, uint8_t *frame));

/* Waits for a segment of these ports, for the host; false after timeout_ms. */
bool raw_wait(struct raw_host *h, uint16_t sport, uint16_t dport, unsigned int timeout_ms,
	struct raw_arrival *out);

/* Handshake with the given options in the SYN. False: no answer within 5 s. */
bool raw_connect(struct raw_conn *c, struct raw_host *h, uint16_t dport, const uint8_t *options,
	unsigned int options_len);
/* Sends payload at snd_nxt + offset (which does not move snd_nxt). */
void raw_conn_send(struct raw_conn *c, int32_t offset, const void *payload, unsigned int len);
/* Takes one segment: acknowledges and copies what is new and in order to buf. Returns bytes, 0
 * for none that are new, -1 after timeout_ms. Sets fin and reset. */
int raw_conn_receive(struct raw_conn *c, unsigned int timeout_ms, uint8_t *buf, size_t size);
/* Closes with RST. */
void raw_conn_reset(struct raw_conn *c);

uint64_t raw_now_us(void);
/* xorshift, seeded with a constant unless set: tests repeat. */
uint32_t raw_random(void);
void raw_random_seed(uint64_t seed);
void raw_die(const char *what) __attribute__((noreturn));

#endif
