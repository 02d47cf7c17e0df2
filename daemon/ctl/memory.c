/* Making and releasing what a session maps; see memory.h.
 *
 * Segments are populated here, on the main thread, so their size is bounded: 16 MiB of plain
 * pages take some milliseconds. Only `down` is guarded: a client cannot punch `up`. */
#include <ctl/memory.h>

#include <ctl/server_state.h>
#include <engine/ringer.h>
#include <shm/doorbell.h>
#include <shm/guard.h>

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SEGMENT_ROUND (UINT64_C(2) << 20) /* as shm_segment_create() rounds */

uint32_t memory_fds(const struct proto_layout *l)
{
	return 2 + l->contexts + l->engines; /* segments, pipe write ends, eventfds */
}

static uint64_t round_up(uint64_t bytes)
{
	return (bytes + SEGMENT_ROUND - 1) & ~(SEGMENT_ROUND - 1);
}

static bool use_huge(const struct ctl_session *c)
{
	return c->server->p.cfg->hugepages != CONFIG_HUGEPAGES_NO;
}

static int segment_add(struct ctl_session *c, enum shm_direction direction, uint64_t bytes)
{
	bool up = direction == SHM_UP;
	uint32_t *count = up ? &c->up_count : &c->down_count;
	struct shm_segment *seg = up ? &c->up[*count] : &c->down[*count];
	int r;

	bytes = round_up(bytes);
	r = uid_memory_take(c->server->uids, c->peer.uid, bytes);
	if (r < 0)
		return r;
	r = shm_segment_create(seg, direction, bytes, use_huge(c));
	if (r < 0)
		goto out_give;
	assert(seg->len_bytes == bytes);
	if (!up)
		r = shm_guard_add(seg->base, seg->len_bytes, &c->holed);
	if (r < 0)
		goto out_destroy;
	*(up ? &c->up_bytes : &c->down_bytes) += seg->len_bytes;
	(*count)++;
	return 0;
out_destroy:
	shm_segment_destroy(seg);
out_give:
	uid_memory_give(c->server->uids, c->peer.uid, bytes);
	return r;
}

static int make_doorbells(struct ctl_session *c)
{
	for (uint32_t i = 0; i < c->layout.contexts; i++) {
		int fds[2], r = shm_doorbell_pipe(fds);

		if (r < 0)
			return r;
		c->ring_fds[i] = fds[0];
		c->bells[i] = bell_new(fds[1]);
		if (!c->bells[i]) {
			close(fds[1]);
			return -ENOMEM;
		}
		c->bell_fds[i] = fds[1];
	}
	for (uint32_t e = 0; e < c->layout.engines; e++) {
		int fd = shm_doorbell_event();

		if (fd < 0)
			return fd;
		c->event_fds[e] = fd;
	}
	return 0;
}

void memory_init(struct ctl_session *c)
{
	memset(c->ring_fds, -1, sizeof(c->ring_fds));
	memset(c->bell_fds, -1, sizeof(c->bell_fds));
	memset(c->event_fds, -1, sizeof(c->event_fds));
}

int memory_create(struct ctl_session *c)
{
	uint64_t payload = c->server->p.cfg->limits.segment_initial_bytes;
	int r;

	r = segment_add(c, SHM_UP, c->layout.up_payload + payload);
	if (r == 0)
		r = segment_add(c, SHM_DOWN, c->layout.down_payload + payload);
	if (r == 0)
		r = make_doorbells(c);
	return r;
}

int memory_export(struct ctl_session *c, int *fds)
{
	int n = 2, down, up;

	down = shm_segment_export(&c->down[0]);
	if (down < 0)
		return down;
	up = shm_segment_export(&c->up[0]);
	if (up < 0) {
		close(down);
		return up;
	}
	fds[0] = down;
	fds[1] = up;
	for (uint32_t i = 0; i < c->layout.contexts; i++)
		fds[n++] = c->ring_fds[i];
	for (uint32_t e = 0; e < c->layout.engines; e++)
		fds[n++] = c->event_fds[e];
	return n;
}

static void close_all(int *fds, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

/* The ringer may close them a little later. */
static void drop_bells(struct ctl_session *c)
{
	for (uint32_t i = 0; i < c->layout.contexts; i++) {
		bell_unref(c->bells[i]);
		c->bells[i] = NULL;
		c->bell_fds[i] = -1;
	}
}

void memory_close_sent(struct ctl_session *c)
{
	close_all(c->ring_fds, c->layout.contexts);
}

struct shm_segment *memory_grow(
	struct ctl_session *c, enum shm_direction direction, uint64_t bytes, uint32_t *index)
{
	const struct config_limits *limits = &c->server->p.cfg->limits;
	bool up = direction == SHM_UP;
	uint64_t have = up ? c->up_bytes : c->down_bytes;
	uint64_t max = up ? limits->session_up_bytes : limits->session_down_bytes;

	*index = up ? c->up_count : c->down_count;
	if (*index >= PROTO_SEGMENTS_MAX || have >= max)
		return NULL;
	if (bytes > MEMORY_GROW_MAX_BYTES)
		bytes = MEMORY_GROW_MAX_BYTES;
	bytes = round_up(bytes);
	if (bytes > max - have)
		bytes = (max - have) & ~(SEGMENT_ROUND - 1);
	if (bytes == 0)
		return NULL;
	if (server_fds_take(c->server, 1) < 0)
		return NULL;
	if (segment_add(c, direction, bytes) < 0) {
		server_fds_give(c->server, 1);
		return NULL;
	}
	c->fds_held++;
	return up ? &c->up[*index] : &c->down[*index];
}

void memory_retire(struct ctl_session *c)
{
	drop_bells(c);
	close_all(c->event_fds, c->layout.engines);
	for (uint32_t i = 0; i < c->up_count; i++) {
		struct shm_segment *seg = &c->up[i];

		/* on failure the pages merely stay until the end */
		mmap(seg->base, seg->len_bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
		close(seg->fd);
		seg->fd = -1;
	}
	uid_memory_give(c->server->uids, c->peer.uid, c->up_bytes);
	c->up_bytes = 0;
}

void memory_release(struct ctl_session *c)
{
	close_all(c->ring_fds, c->layout.contexts);
	drop_bells(c);
	close_all(c->event_fds, c->layout.engines);
	for (uint32_t i = 0; i < c->up_count; i++)
		shm_segment_destroy(&c->up[i]);
	for (uint32_t i = 0; i < c->down_count; i++) {
		shm_guard_remove(c->down[i].base);
		shm_segment_destroy(&c->down[i]);
	}
	uid_memory_give(c->server->uids, c->peer.uid, c->up_bytes + c->down_bytes);
	c->up_count = c->down_count = 0;
	c->up_bytes = c->down_bytes = 0;
}
