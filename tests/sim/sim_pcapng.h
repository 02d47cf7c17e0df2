/* What is on the wire, as a pcapng file.
 *
 * Each host has an interface of its own, on which the frames that it sends are outbound and those
 * that it gets are inbound: what the link did to a frame shows by comparison. Nothing is kept
 * back in memory, so that the file is whole to the last frame when the process aborts.
 */
#ifndef SIM_PCAPNG_H
#define SIM_PCAPNG_H

#include <stdbool.h>
#include <stdint.h>

/* A descriptor, or -errno. `comment` goes into the file's head. The caller closes it. */
int sim_pcapng_open(const char *path, const char *comment);
void sim_pcapng_write(
	int fd, uint64_t now_us, int side, bool inbound, const uint8_t *frame, uint32_t len);

#endif
