/* Options, names of either end, fcntl and ioctl.
 *
 * Integer options are a table: how to read one, how to set one. Options that the engine must
 * know are pushed when there is a connection, and otherwise go with connect or are pushed after
 * accept. Those that would change nothing but how soon something happens are remembered and
 * given back; any other that is unknown fails, so that a program which needs it notices.
 */
#include <libclient/client.h>
#include <libclient/internal.h>

#include <fcntl.h>
#include <linux/sockios.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>

enum {
	BUFFER_MIN_BYTES = 2048, /* before doubling, as in Linux */
	BUFFER_MAX_BYTES = 64 << 20,
	TCP_HEADERS_BYTES = 40,
};

/* Without waiting for the answer: these cannot fail on a live connection, their bounds are
 * kept here too. */
void opt_push(struct sock *s, enum proto_option option, uint64_t value)
{
	struct proto_slot slot = {0};

	if (!s->handle.gen)
		return;
	slot.head = proto_head_make(PROTO_OP_SETOPT, 0); /* which is nobody's request */
	slot.body.setopt.handle = s->handle;
	slot.body.setopt.option = option;
	slot.body.setopt.value = value;
	ctx_push(s->ctx, s->engine, &slot);
}

/* -- integer options ----------------------------------------------------------------------- */

typedef int (*get_fn)(struct sock *s);
typedef int (*set_fn)(struct sock *s, int value); /* 0 or -errno */

static int get_error(struct sock *s)
{
	return sock_dead(s) ? ENETDOWN : sock_take_error(s);
}
static int get_type(struct sock *s)
{
	(void)s;
	return SOCK_STREAM;
}
static int get_domain(struct sock *s)
{
	return s->ip6 ? AF_INET6 : AF_INET;
}
static int get_protocol(struct sock *s)
{
	(void)s;
	return IPPROTO_TCP;
}
static int get_v6only(struct sock *s)
{
	return s->v6only;
}
/* Linux: no more once the socket is bound. */
static int set_v6only(struct sock *s, int value)
{
	if (!s->ip6)
		return -ENOPROTOOPT;
	if (s->bound || s->state != STATE_NEW)
		return -EINVAL;
	s->v6only = value != 0;
	return 0;
}
static int get_acceptconn(struct sock *s)
{
	return s->state == STATE_LISTEN;
}
static int get_reuseaddr(struct sock *s)
{
	return s->reuseaddr;
}
static int set_reuseaddr(struct sock *s, int value)
{
	s->reuseaddr = value;
	return 0;
}
static int get_reuseport(struct sock *s)
{
	return s->reuseport;
}
static int set_reuseport(struct sock *s, int value)
{
	s->reuseport = value;
	return 0;
}
static int get_keepalive(struct sock *s)
{
	return s->keepalive;
}
static int set_keepalive(struct sock *s, int value)
{
	s->keepalive = value;
	opt_push(s, PROTO_SET_KEEPALIVE, value != 0);
	return 0;
}
static int get_nodelay(struct sock *s)
{
	return s->nodelay;
}
static int set_nodelay(struct sock *s, int value)
{
	s->nodelay = value;
	opt_push(s, PROTO_SET_NODELAY, value != 0);
	return 0;
}
static int get_cork(struct sock *s)
{
	return s->cork;
}
static int set_cork(struct sock *s, int value)
{
	s->cork = value;
	opt_push(s, PROTO_SET_CORK, value != 0);
	return 0;
}

static uint32_t doubled(int value)
{
	if (value < BUFFER_MIN_BYTES)
		value = BUFFER_MIN_BYTES;
	return 2 * (uint32_t)(value > BUFFER_MAX_BYTES ? BUFFER_MAX_BYTES : value);
}

static int get_sndbuf(struct sock *s)
{
	uint32_t set = sock_rare(s)->sndbuf_bytes;

	return (int)(set ? set : atomic_load(&s->ev.sndbuf_bytes));
}
static int set_sndbuf(struct sock *s, int value)
{
	struct sock_rare *r = sock_rare_make(s);

	if (!r)
		return -ENOMEM;
	r->sndbuf_bytes = doubled(value);
	opt_push(s, PROTO_SET_SNDBUF, r->sndbuf_bytes);
	return 0;
}
static int get_rcvbuf(struct sock *s)
{
	uint32_t set = sock_rare(s)->rcvbuf_bytes;

	return (int)(set ? set : ses.info.rcvbuf_bytes);
}
static int set_rcvbuf(struct sock *s, int value)
{
	struct sock_rare *r = sock_rare_make(s);

	if (!r)
		return -ENOMEM;
	r->rcvbuf_bytes = doubled(value);
	opt_push(s, PROTO_SET_RCVBUF, r->rcvbuf_bytes);
	return 0;
}
static int get_broadcast(struct sock *s)
{
	return s->broadcast;
}
static int set_broadcast(struct sock *s, int value)
{
	s->broadcast = value;
	return 0;
}
static int get_oobinline(struct sock *s)
{
	return s->oobinline;
}
static int set_oobinline(struct sock *s, int value)
{
	s->oobinline = value;
	return 0;
}
static int get_one(struct sock *s)
{
	(void)s;
	return 1;
}
static int set_one(struct sock *s, int value)
{
	(void)s;
	return value == 0 || value == 1 ? 0 : -ENOPROTOOPT; /* Linux takes 0 for 1 */
}
static const struct int_option {
	int level, name;
	get_fn get;
	set_fn set; /* NULL: cannot be set */
} int_options[] = {
	{SOL_SOCKET, SO_ERROR, get_error, NULL},
	{SOL_SOCKET, SO_TYPE, get_type, NULL},
	{SOL_SOCKET, SO_DOMAIN, get_domain, NULL},
	{SOL_SOCKET, SO_PROTOCOL, get_protocol, NULL},
	{SOL_SOCKET, SO_ACCEPTCONN, get_acceptconn, NULL},
	{SOL_SOCKET, SO_REUSEADDR, get_reuseaddr, set_reuseaddr},
	{SOL_SOCKET, SO_REUSEPORT, get_reuseport, set_reuseport},
	{SOL_SOCKET, SO_BROADCAST, get_broadcast, set_broadcast},
	{SOL_SOCKET, SO_OOBINLINE, get_oobinline, set_oobinline},
	{SOL_SOCKET, SO_KEEPALIVE, get_keepalive, set_keepalive},
	{SOL_SOCKET, SO_SNDBUF, get_sndbuf, set_sndbuf},
	{SOL_SOCKET, SO_RCVBUF, get_rcvbuf, set_rcvbuf},
	{SOL_SOCKET, SO_RCVLOWAT, get_one, set_one},
	{IPPROTO_IPV6, IPV6_V6ONLY, get_v6only, set_v6only},
	{IPPROTO_TCP, TCP_NODELAY, get_nodelay, set_nodelay},
	{IPPROTO_TCP, TCP_CORK, get_cork, set_cork},
};

static const struct int_option *find_int(int level, int name)
{
	for (size_t i = 0; i < sizeof(int_options) / sizeof(*int_options); i++)
		if (int_options[i].level == level && int_options[i].name == name)
			return &int_options[i];
	return NULL;
}

/* -- TCP_INFO ------------------------------------------------------------------------------ */

/* Linux's numbers for the states that a socket without a connection can be in; only the C
 * library's header, which cannot be had beside linux/tcp.h, has them. */
enum {
	LINUX_TCP_CLOSE = 7,
	LINUX_TCP_LISTEN = 10,
};

static uint8_t tcp_state_of(const struct sock *s)
{
	return s->state == STATE_LISTEN ? LINUX_TCP_LISTEN : LINUX_TCP_CLOSE;
}

/* Fills *out; the lock may be dropped meanwhile. 0 or -errno. */
static int fetch_info(struct sock *s, union sock_info *out)
{
	struct proto_slot slot = {.head = proto_head_make(PROTO_OP_INFO, 0)};
	int err;

	memset(out, 0, sizeof(*out));
	out->info.tcpi_state = tcp_state_of(s);
	if (!s->handle.gen)
		return 0;
	if (!sock_rare_make(s))
		return -ENOMEM;
	slot.body.info.handle = s->handle;
	err = sock_request(s, &slot, true);
	if (err == -EBADF)
		return 0; /* gone meanwhile: closed */
	if (err >= 0)
		*out = s->rare->info;
	return err < 0 ? err : 0;
}

static int get_maxseg(struct sock *s)
{
	int fallback = ses.info.mtu_bytes > TCP_HEADERS_BYTES
			       ? (int)ses.info.mtu_bytes - TCP_HEADERS_BYTES
			       : 536;
	union sock_info info;

	if (fetch_info(s, &info) || !info.info.tcpi_snd_mss)
		return fallback;
	return (int)info.info.tcpi_snd_mss;
}

/* -- setsockopt ---------------------------------------------------------------------------- */

static int set_timeo(struct timeval *to, const void *val, socklen_t len)
{
	struct timeval tv;

	if (len < sizeof(tv))
		return -EINVAL;
	memcpy(&tv, val, sizeof(tv));
	if (tv.tv_usec < 0 || tv.tv_usec >= 1000000)
		return -EDOM;
	if (tv.tv_sec < 0)
		tv = (struct timeval){0, 0};
	*to = tv;
	return 0;
}

/* -- TCP_CONGESTION ------------------------------------------------------------------------ */

/* Of a connection the engine's word counts: a route may have chosen. */
static const char *congestion_name(struct sock *s)
{
	uint32_t set = sock_rare(s)->congestion;
	uint32_t n = set ? set - 1 : ses.info.congestion;
	union sock_info info;

	if (fetch_info(s, &info) == 0 && info.info.tcpi_snd_mss)
		memcpy(&n, info.bytes + PROTO_INFO_CONGESTION, sizeof(n));
	return n < PROTO_CONGESTION_MAX ? ses.info.congestion_name[n] : "";
}

/* As Linux: a name of up to 15 characters, its NUL optional; -ENOENT if nobody has that name. */
int mtcpi_congestion_find(const void *val, socklen_t len)
{
	char name[PROTO_CONGESTION_NAME_BYTES] = "";

	if (len < 1)
		return -EINVAL;
	memcpy(name, val, len < sizeof(name) - 1 ? len : sizeof(name) - 1);
	if (strcmp(name, "reno") == 0)
		strcpy(name, "newreno"); /* what Linux calls it */
	if (!name[0])
		return -ENOENT;
	for (uint32_t i = 0; i < ses.info.congestion_count && i < PROTO_CONGESTION_MAX; i++)
		if (strncmp(name, ses.info.congestion_name[i], sizeof(name)) == 0)
			return (int)i;
	return -ENOENT;
}

static int set_congestion(struct sock *s, const void *val, socklen_t len)
{
	int n = mtcpi_congestion_find(val, len);
	struct sock_rare *r;

	if (n < 0)
		return n;
	r = sock_rare_make(s);
	if (!r)
		return -ENOMEM;
	r->congestion = (uint32_t)n + 1;
	opt_push(s, PROTO_SET_CONGESTION, (uint64_t)n);
	return 0;
}

static int set_struct(struct sock *s, int name, const void *val, socklen_t len)
{
	struct sock_rare *r = sock_rare_make(s);

	if (!r)
		return -ENOMEM;
	if (name == SO_RCVTIMEO)
		return set_timeo(&r->rcvtimeo, val, len);
	if (name == SO_SNDTIMEO)
		return set_timeo(&r->sndtimeo, val, len);
	if (len < sizeof(r->linger))
		return -EINVAL;
	memcpy(&r->linger, val, sizeof(r->linger));
	r->linger.l_onoff = r->linger.l_onoff != 0;
	return 0;
}

static int set_locked(struct sock *s, int level, int name, const void *val, socklen_t len)
{
	const struct int_option *o = find_int(level, name);
	int number = level == IPPROTO_TCP ? number_find(name) : -1;
	int value;

	if (level == SOL_SOCKET &&
		(name == SO_RCVTIMEO || name == SO_SNDTIMEO || name == SO_LINGER))
		return set_struct(s, name, val, len);
	if (level == IPPROTO_TCP && name == TCP_CONGESTION)
		return set_congestion(s, val, len);
	if (len < sizeof(value) && (level == SOL_SOCKET || level == IPPROTO_TCP))
		return -EINVAL;
	if (number < 0 && (!o || !o->set)) {
		count(&counters.sockopt_unknown);
		return -ENOPROTOOPT;
	}
	if (len < sizeof(value))
		return -EINVAL;
	memcpy(&value, val, sizeof(value));
	return number < 0 ? o->set(s, value) : number_set(s, number, value);
}

/* What most programs set right after a connect that did not wait. The engine is told with its
 * answer (connect_answered()), so that they need not wait for that. */
static bool told_later(int level, int name, const void *val, socklen_t len)
{
	int value = 0;

	if (level == IPPROTO_TCP && name == TCP_NODELAY && len >= sizeof(value))
		memcpy(&value, val, sizeof(value));
	return value != 0;
}

int mtcp_setsockopt(int sd, int level, int name, const void *val, socklen_t len)
{
	struct sock *s;
	int err;

	if (!val)
		return ret_errno(-EFAULT);
	err = told_later(level, name, val, len) ? sock_get_live(sd, &s) : sock_get(sd, &s);
	if (err)
		return ret_errno(err);
	err = set_locked(s, level, name, val, len);
	sock_put(s);
	return ret_errno(err);
}

/* -- getsockopt ---------------------------------------------------------------------------- */

static int give(void *val, socklen_t *len, const void *from, size_t size)
{
	if (*len > size)
		*len = (socklen_t)size;
	memcpy(val, from, *len);
	return 0;
}

static int get_locked(struct sock *s, int level, int name, void *val, socklen_t *len)
{
	const struct int_option *o = find_int(level, name);
	int number = level == IPPROTO_TCP ? number_find(name) : -1;
	const struct sock_rare *r = sock_rare(s);
	union sock_info info;
	int value;

	if (level == SOL_SOCKET && name == SO_RCVTIMEO)
		return give(val, len, &r->rcvtimeo, sizeof(r->rcvtimeo));
	if (level == SOL_SOCKET && name == SO_SNDTIMEO)
		return give(val, len, &r->sndtimeo, sizeof(r->sndtimeo));
	if (level == SOL_SOCKET && name == SO_LINGER)
		return give(val, len, &r->linger, sizeof(r->linger));
	if (level == IPPROTO_TCP && name == TCP_INFO) {
		value = fetch_info(s, &info);
		return value ? value : give(val, len, info.bytes, PROTO_INFO_BYTES);
	}
	if (level == IPPROTO_TCP && name == TCP_CONGESTION)
		return give(val, len, congestion_name(s), PROTO_CONGESTION_NAME_BYTES);
	if ((!o && number < 0) || (level == IPPROTO_IPV6 && !s->ip6)) {
		count(&counters.sockopt_unknown);
		return -ENOPROTOOPT;
	}
	if (level == IPPROTO_TCP && name == TCP_MAXSEG)
		value = get_maxseg(s);
	else
		value = number < 0 ? o->get(s) : number_get(s, number);
	return give(val, len, &value, sizeof(value));
}

int mtcp_getsockopt(int sd, int level, int name, void *val, socklen_t *len)
{
	struct sock *s;
	int err;

	if (!val || !len)
		return ret_errno(-EFAULT);
	err = sock_get_settled(sd, &s);
	if (err)
		return ret_errno(err);
	if (level == SOL_SOCKET && name == SO_ERROR)
		ctx_drain(&ses.ctx[s->ctx], false);
	err = get_locked(s, level, name, val, len);
	sock_put(s);
	return ret_errno(err);
}

/* -- names --------------------------------------------------------------------------------- */

int mtcp_getsockname(int sd, struct sockaddr *sa, socklen_t *len)
{
	struct sock *s;
	uint8_t addr[16];
	int err = sa && len ? sock_get_settled(sd, &s) : -EFAULT;

	if (err)
		return ret_errno(err);
	sock_name(s, SOCK_LOCAL, addr);
	addr_to_sockaddr(s->ip6, addr, sock_cold(s)->lport, sa, len);
	sock_put(s);
	return 0;
}

int mtcp_getpeername(int sd, struct sockaddr *sa, socklen_t *len)
{
	struct sock *s;
	uint8_t addr[16];
	int err = sa && len ? sock_get_any(sd, &s) : -EFAULT;

	if (err)
		return ret_errno(err);
	sock_name(s, SOCK_PEER, addr);
	if (s->state == STATE_NEW || s->state == STATE_LISTEN || sock_connecting(s) ||
		atomic_load(&s->ev.flags) & (PROTO_FLOW_CLOSED | PROTO_FLOW_ENDED))
		err = -ENOTCONN;
	else
		addr_to_sockaddr(s->ip6, addr, sock_cold(s)->rport, sa, len);
	sock_put(s);
	return ret_errno(err);
}

/* -- fcntl, ioctl -------------------------------------------------------------------------- */

static int fcntl_locked(struct sock *s, int cmd, int arg)
{
	switch (cmd) {
	case F_GETFL:
		return O_RDWR | (s->nonblock ? O_NONBLOCK : 0);
	case F_SETFL:
		s->nonblock = arg & O_NONBLOCK;
		return 0;
	case F_GETFD:
		return s->cloexec ? FD_CLOEXEC : 0;
	case F_SETFD:
		s->cloexec = arg & FD_CLOEXEC;
		return 0;
	default:
		return -EINVAL;
	}
}

int mtcp_fcntl(int sd, int cmd, ...)
{
	struct sock *s;
	va_list ap;
	int arg = 0, err;

	if (cmd == F_SETFL || cmd == F_SETFD) {
		va_start(ap, cmd);
		arg = va_arg(ap, int);
		va_end(ap);
	}
	err = sock_get_any(sd, &s);
	if (err)
		return ret_errno(err);
	err = fcntl_locked(s, cmd, arg);
	sock_put(s);
	return ret_errno(err);
}

static int clamp_int(uint64_t n)
{
	return n > INT32_MAX ? INT32_MAX : (int)n;
}

static int ioctl_locked(struct sock *s, unsigned long request, int *arg)
{
	union sock_info info;
	int err;

	switch (request) {
	case FIONREAD:
		if (s->state == STATE_LISTEN)
			return -EINVAL;
		ctx_drain(&ses.ctx[s->ctx], false);
		*arg = clamp_int(sock_unread(s));
		return 0;
	case TIOCOUTQ:
		if (s->state == STATE_LISTEN)
			return -EINVAL;
		ctx_drain(&ses.ctx[s->ctx], false);
		*arg = clamp_int(sock_unacked(s));
		return 0;
	case SIOCOUTQNSD:
		if (s->state == STATE_LISTEN)
			return -EINVAL;
		err = fetch_info(s, &info);
		*arg = clamp_int(info.info.tcpi_notsent_bytes);
		return err;
	case FIONBIO:
		s->nonblock = *arg;
		return 0;
	default:
		return -ENOTTY;
	}
}

int mtcp_ioctl(int sd, unsigned long request, ...)
{
	struct sock *s;
	va_list ap;
	int *arg, err;

	va_start(ap, request);
	arg = va_arg(ap, int *);
	va_end(ap);
	err = sock_get_any(sd, &s);
	if (err)
		return ret_errno(err);
	err = arg ? ioctl_locked(s, request, arg) : -EFAULT;
	sock_put(s);
	return ret_errno(err);
}
