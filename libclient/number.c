/* The numbers of tcp(7) that a socket may be given: bounds, and the engine's name for them.
 *
 * Few sockets have any, so they live in a block that the first one brings (sock_rare.numbers). They
 * may be set at any time: what the engine must know is pushed when there is a connection, or as
 * soon as there is one. A socket that is accepted has its listener's.
 */
#include <libclient/client.h>

#include <stdlib.h>
#include <string.h>

enum {
	WINDOW_CLAMP_MIN = 1152, /* half of Linux's least receive buffer */
	DEFER_RETRIES_MAX = 255, /* Linux counts them in a byte */
	DEFER_RTO_MAX_S = 120,
};

/* Linux's struct, as far as its values are ours (net/ipv4/tcp.c). */
static const struct number {
	int name;
	int min, max;
	int unset;		  /* what getsockopt says before */
	enum proto_option option; /* 0: none */
} numbers[NUMBER_COUNT] = {
	[NUMBER_KEEPIDLE] = {TCP_KEEPIDLE, 1, 32767, 7200, PROTO_SET_KEEPIDLE_S},
	[NUMBER_KEEPINTVL] = {TCP_KEEPINTVL, 1, 32767, 75, PROTO_SET_KEEPINTVL_S},
	[NUMBER_KEEPCNT] = {TCP_KEEPCNT, 1, 127, 9, PROTO_SET_KEEPCNT},
	[NUMBER_SYNCNT] = {TCP_SYNCNT, 1, 127, 6, PROTO_SET_SYNCNT},
	[NUMBER_USER_TIMEOUT] = {TCP_USER_TIMEOUT, 0, INT32_MAX, 0, PROTO_SET_USER_TIMEOUT_MS},
	[NUMBER_LINGER2] = {TCP_LINGER2, -1, 120, 60, PROTO_SET_LINGER2_S},
	[NUMBER_QUICKACK] = {TCP_QUICKACK, 0, 1, 1, PROTO_SET_QUICKACK},
	[NUMBER_MAXSEG] = {TCP_MAXSEG, 88, 32767, 0, PROTO_SET_MAXSEG},
	[NUMBER_WINDOW_CLAMP] = {TCP_WINDOW_CLAMP, INT32_MIN, INT32_MAX, 0, PROTO_SET_WINDOW_CLAMP},
	[NUMBER_DEFER_ACCEPT] = {TCP_DEFER_ACCEPT, 0, INT32_MAX, 0, 0},
	[NUMBER_FASTOPEN] = {TCP_FASTOPEN, 0, UINT16_MAX, 0, 0},
	[NUMBER_FASTOPEN_CONNECT] = {TCP_FASTOPEN_CONNECT, 0, 1, 0, 0},
	[NUMBER_NOTSENT_LOWAT] = {TCP_NOTSENT_LOWAT, INT32_MIN, INT32_MAX, 0,
		PROTO_SET_NOTSENT_LOWAT},
};

struct sock_numbers {
	uint32_t set; /* bits by enum sock_number */
	int value[NUMBER_COUNT];
};

int number_find(int name)
{
	for (int i = 0; i < NUMBER_COUNT; i++)
		if (numbers[i].name == name)
			return i;
	return -1;
}

static bool is_set(const struct sock *s, enum sock_number n)
{
	const struct sock_numbers *x = sock_rare(s)->numbers;

	return x && x->set >> n & 1;
}

int number_get(const struct sock *s, enum sock_number n)
{
	int value = is_set(s, n) ? s->rare->numbers->value[n] : numbers[n].unset;

	return n == NUMBER_LINGER2 && value == 0 ? numbers[n].unset : value;
}

/* Linux counts retransmissions of the SYN|ACK, the first after a second. */
static int defer_bent(int seconds)
{
	int period_s = 1, timeout_s = 1;

	if (seconds <= 0)
		return 0;
	for (int tries = 1; seconds > period_s && tries < DEFER_RETRIES_MAX; tries++) {
		timeout_s = timeout_s * 2 < DEFER_RTO_MAX_S ? timeout_s * 2 : DEFER_RTO_MAX_S;
		period_s += timeout_s;
	}
	return period_s;
}

/* What Linux does not refuse but bend. */
static int bent(enum sock_number n, int value)
{
	if (n == NUMBER_QUICKACK)
		return value != 0;
	if (n == NUMBER_LINGER2 && value > numbers[n].max)
		return numbers[n].max;
	if (n == NUMBER_LINGER2 && value < 0)
		return numbers[n].min;
	if (n == NUMBER_FASTOPEN && value > numbers[n].max)
		return numbers[n].max;
	if (n == NUMBER_DEFER_ACCEPT)
		return defer_bent(value);
	if (n == NUMBER_WINDOW_CLAMP && value != 0 && value < WINDOW_CLAMP_MIN)
		return WINDOW_CLAMP_MIN;
	return value;
}

/* Until the engine says how far it has come, which it does whenever it is told of a mark: nothing
 * of what waits for an acknowledgement may have been sent. */
static void expect_lowat(struct sock *s, uint32_t lowat_bytes)
{
	lock_take(&s->ev_lock);
	if (lowat_bytes < atomic_load(&s->ev.sndbuf_bytes))
		atomic_store(&s->ev.sndbuf_bytes, lowat_bytes);
	atomic_fetch_or(&s->ev.flags, PROTO_FLOW_ANY_ROOM);
	lock_drop(&s->ev_lock);
}

static int push(struct sock *s, enum sock_number n)
{
	int value = s->rare->numbers->value[n];

	if (n == NUMBER_NOTSENT_LOWAT && value < 0)
		value = 0; /* as a large number, which it is to Linux */
	if (n == NUMBER_LINGER2 && value < 0)
		value = 1; /* no time at all, which the engine has no number for */
	if (n == NUMBER_NOTSENT_LOWAT && value > 0 && s->handle.gen)
		expect_lowat(s, (uint32_t)value);
	if (numbers[n].option)
		opt_push(s, numbers[n].option, (uint64_t)value);
	else if ((n == NUMBER_DEFER_ACCEPT || n == NUMBER_FASTOPEN) && s->state == STATE_LISTEN)
		return listener_set(s);
	return 0;
}

static struct sock_numbers *make(struct sock *s)
{
	struct sock_rare *r = sock_rare_make(s);

	if (r && !r->numbers)
		r->numbers = calloc(1, sizeof(*r->numbers));
	return r ? r->numbers : NULL;
}

int number_set(struct sock *s, enum sock_number n, int value)
{
	struct sock_numbers *x;

	value = bent(n, value);
	if (n == NUMBER_MAXSEG && value == 0 && !is_set(s, n))
		return 0; /* none; what a live connection has been told stays */
	if (value < numbers[n].min || value > numbers[n].max)
		return -EINVAL;
	if (n == NUMBER_WINDOW_CLAMP && value == 0 && s->state != STATE_NEW)
		return -EINVAL; /* Linux: no way back once there is a window */
	x = make(s);
	if (!x)
		return -ENOMEM;
	x->set |= 1u << n;
	x->value[n] = value;
	return push(s, n);
}

void number_push_all(struct sock *s)
{
	for (int i = 0; i < NUMBER_COUNT; i++)
		if (is_set(s, (enum sock_number)i))
			push(s, (enum sock_number)i);
}

int number_inherit(struct sock *s, const struct sock *from)
{
	struct sock_numbers *x;

	if (!sock_rare(from)->numbers)
		return 0;
	x = make(s);
	if (!x)
		return -ENOMEM;
	*x = *sock_rare(from)->numbers;
	return 0;
}

void number_free(struct sock *s)
{
	if (s->rare)
		free(s->rare->numbers);
}

uint32_t opt_defer_accept_s(const struct sock *s)
{
	int value = number_get(s, NUMBER_DEFER_ACCEPT);

	return value < PROTO_DEFER_ACCEPT_MAX_S ? (uint32_t)value : PROTO_DEFER_ACCEPT_MAX_S;
}

uint32_t opt_rcvbuf(const struct sock *s)
{
	uint32_t clamp = (uint32_t)number_get(s, NUMBER_WINDOW_CLAMP);
	uint32_t set = sock_rare(s)->rcvbuf_bytes;
	uint32_t size = set ? set : clamp ? ses.info.rcvbuf_bytes : 0;

	return clamp && clamp < size ? clamp : size;
}
