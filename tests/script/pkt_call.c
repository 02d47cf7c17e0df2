/* Each call has a small function that turns the script's values into C's, calls the library
 * and compares what came back through pointers. The result itself is compared by the runner. */
#include "pkt_call.h"

#include "pkt_wire.h"

#include <libclient/mtcp_client.h>
#include <sim/sim_host.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	OPTION_BYTES_MAX = 256,
};

typedef int64_t call_fn(struct pkt_job *j);

/* -- arguments
 * --------------------------------------------------------------------------------------- */

static int64_t wrong(struct pkt_job *j, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int64_t wrong(struct pkt_job *j, const char *fmt, ...)
{
	va_list args;

	if (j->why[0])
		return -1;
	va_start(args, fmt);
	vsnprintf(j->why, sizeof(j->why), fmt, args);
	va_end(args);
	return -1;
}

static const struct pkt_value *value(const struct pkt_job *j, uint32_t i)
{
	static const struct pkt_value none;

	return i < j->call->arg_count ? &j->call->arg[i] : &none;
}

/* "..." and what is missing are 0. */
static int number(const struct pkt_job *j, uint32_t i)
{
	return (int)value(j, i)->number;
}

static struct pkt_fd *fd_at(struct pkt_job *j, int64_t n)
{
	static struct pkt_fd closed = {.live = -1};

	if (n < 0 || n >= PKT_FDS_MAX || !j->process->fd[n].open)
		return &closed;
	return &j->process->fd[n];
}

static int live(struct pkt_job *j, uint32_t i)
{
	return fd_at(j, number(j, i))->live;
}

/* A member by name, or by place if the script names none. */
static const struct pkt_value *member(const struct pkt_value *v, const char *name, uint32_t place)
{
	for (uint32_t i = 0; i < v->count; i++)
		if (v->item[i].name && strcmp(v->item[i].name, name) == 0)
			return &v->item[i];
	return place < v->count && !v->item[place].name ? &v->item[place] : NULL;
}

static int64_t member_number(const struct pkt_value *v, const char *name, uint32_t place)
{
	const struct pkt_value *m = member(v, name, place);

	return m ? m->number : 0;
}

union pkt_address {
	struct sockaddr sa;
	struct sockaddr_in sin;
	struct sockaddr_in6 sin6;
};

static uint16_t address_port(const union pkt_address *a)
{
	return ntohs(a->sa.sa_family == AF_INET6 ? a->sin6.sin6_port : a->sin.sin_port);
}

/* What "..." means: the script's port at one of the two ends. */
static socklen_t address_default(union pkt_address *a, enum pkt_family family, int side)
{
	struct net_addr ip6 = sim_ip6(side);

	*a = (union pkt_address){.sin6 = {.sin6_family = AF_INET6, .sin6_port = htons(PKT_PORT)}};
	if (family == PKT_IP4) {
		a->sin.sin_family = AF_INET;
		a->sin.sin_addr.s_addr = sim_ip_be(side);
		return sizeof(a->sin);
	}
	if (family == PKT_IP4_MAPPED)
		ip6 = net_addr_from_ip4(sim_ip_be(side));
	memcpy(&a->sin6.sin6_addr, ip6.b, sizeof(ip6.b));
	return sizeof(a->sin6);
}

static socklen_t address(
	const struct pkt_job *j, const struct pkt_value *v, int side, union pkt_address *a)
{
	bool given = v->kind == PKT_VALUE_STRUCT && member(v, "sa_family", 0);
	enum pkt_family family = given && member_number(v, "sa_family", 0) != AF_INET6
					 ? PKT_IP4
					 : j->process->family;
	socklen_t len = address_default(a, family, side);

	if (v->kind != PKT_VALUE_STRUCT)
		return len;
	if (given)
		a->sa.sa_family = (sa_family_t)member_number(v, "sa_family", 0);
	if (member(v, "sin_port", 1)) /* in the same place in both */
		a->sin.sin_port = htons((uint16_t)member_number(v, "sin_port", 1));
	if (family == PKT_IP4 && member(v, "sin_addr", 2) &&
		member(v, "sin_addr", 2)->kind == PKT_VALUE_INT)
		a->sin.sin_addr.s_addr = (uint32_t)member_number(v, "sin_addr", 2);
	return len;
}

static int64_t opened(struct pkt_job *j, int64_t rc)
{
	int64_t n = j->call->any_result ? 3 : j->call->result;

	while (j->call->any_result && n < PKT_FDS_MAX && j->process->fd[n].open)
		n++;
	if (rc < 0 || n < 0)
		return rc;
	if (n >= PKT_FDS_MAX || j->process->fd[n].open)
		return wrong(j, "descriptor %lld is taken or too large", (long long)n);
	j->process->fd[n] = (struct pkt_fd){.open = true, .live = (int)rc};
	return n;
}

/* -- opening and closing
 * --------------------------------------------------------------------------------- */

static int64_t call_socket(struct pkt_job *j)
{
	const struct pkt_value *v = value(j, 0);
	int domain = j->process->family == PKT_IP4 ? AF_INET : AF_INET6;

	if (v->kind == PKT_VALUE_INT)
		domain = (int)v->number;
	return opened(j, mtcp_socket(domain, number(j, 1), number(j, 2)));
}

static int64_t call_bind(struct pkt_job *j)
{
	union pkt_address a;
	socklen_t len = address(j, value(j, 1), 0, &a);
	int rc = mtcp_bind(live(j, 0), &a.sa, len);

	if (rc == 0)
		j->process->port = address_port(&a);
	return rc;
}

static int64_t call_listen(struct pkt_job *j)
{
	return mtcp_listen(live(j, 0), number(j, 1));
}

static int64_t accepted(struct pkt_job *j, int rc)
{
	if (rc >= 0)
		j->process->last_fd = rc;
	return opened(j, rc);
}

static int64_t call_accept(struct pkt_job *j)
{
	return accepted(j, mtcp_accept(live(j, 0), NULL, NULL));
}

static int64_t call_accept4(struct pkt_job *j)
{
	return accepted(j, mtcp_accept4(live(j, 0), NULL, NULL, number(j, 3)));
}

static int64_t call_connect(struct pkt_job *j)
{
	union pkt_address a;
	socklen_t len = address(j, value(j, 1), 1, &a);

	j->process->last_fd = live(j, 0);
	return mtcp_connect(live(j, 0), &a.sa, len);
}

static int64_t call_shutdown(struct pkt_job *j)
{
	return mtcp_shutdown(live(j, 0), number(j, 1));
}

static int64_t call_close(struct pkt_job *j)
{
	struct pkt_fd *f = fd_at(j, number(j, 0));
	int fd = f->live;

	if (f->open && fd == j->process->last_fd)
		j->process->last_fd = -1;
	f->open = false;
	return mtcp_close(fd);
}

/* -- data
 * ----------------------------------------------------------------------------------------------------
 */

static uint8_t *buffer(struct pkt_job *j, int64_t bytes)
{
	uint8_t *b = bytes < 0 || bytes > PKT_BUFFER_MAX ? NULL : malloc((size_t)bytes + 1);

	if (!b)
		wrong(j, "a buffer of %lld bytes", (long long)bytes);
	return b;
}

static uint8_t *outgoing(struct pkt_job *j, int64_t bytes)
{
	uint32_t pos = fd_at(j, number(j, 0))->tx_pos;
	uint8_t *b = buffer(j, bytes);

	for (int64_t i = 0; b && i < bytes; i++)
		b[i] = pkt_pattern(pos + (uint32_t)i);
	return b;
}

static int64_t sent(struct pkt_job *j, uint8_t *b, int64_t rc)
{
	int err = errno;

	if (rc > 0)
		fd_at(j, number(j, 0))->tx_pos += (uint32_t)rc;
	free(b);
	errno = err;
	return rc;
}

static int64_t received(struct pkt_job *j, uint8_t *b, int64_t rc, int flags)
{
	struct pkt_fd *f = fd_at(j, number(j, 0));
	int err = errno;

	for (int64_t i = 0; i < rc && !(flags & MSG_TRUNC); i++)
		if (b[i] != pkt_pattern(f->rx_pos + (uint32_t)i)) {
			wrong(j, "byte %lld of the stream is not what was sent",
				(long long)f->rx_pos + (long long)i);
			break;
		}
	if (rc > 0 && !(flags & MSG_PEEK))
		f->rx_pos += (uint32_t)rc;
	free(b);
	errno = err;
	return rc;
}

static int64_t call_read(struct pkt_job *j)
{
	uint8_t *b = buffer(j, number(j, 2));

	return b ? received(j, b, mtcp_read(live(j, 0), b, (size_t)number(j, 2)), 0) : -1;
}

static int64_t call_recv(struct pkt_job *j)
{
	uint8_t *b = buffer(j, number(j, 2));
	int flags = number(j, 3);

	return b ? received(j, b, mtcp_recv(live(j, 0), b, (size_t)number(j, 2), flags), flags)
		 : -1;
}

static int64_t call_write(struct pkt_job *j)
{
	uint8_t *b = outgoing(j, number(j, 2));

	return b ? sent(j, b, mtcp_write(live(j, 0), b, (size_t)number(j, 2))) : -1;
}

static int64_t call_send(struct pkt_job *j)
{
	uint8_t *b = outgoing(j, number(j, 2));

	return b ? sent(j, b, mtcp_send(live(j, 0), b, (size_t)number(j, 2), number(j, 3))) : -1;
}

/* With MSG_FASTOPEN it connects. */
static int64_t call_sendto(struct pkt_job *j)
{
	union pkt_address to;
	struct iovec iov = {.iov_len = (size_t)number(j, 2)};
	struct msghdr m = {.msg_name = &to, .msg_iov = &iov, .msg_iovlen = 1};

	if (!(number(j, 3) & MSG_FASTOPEN))
		return call_send(j);
	iov.iov_base = outgoing(j, number(j, 2));
	if (!iov.iov_base)
		return -1;
	m.msg_namelen = address(j, value(j, 4), 1, &to);
	j->process->last_fd = live(j, 0);
	return sent(j, iov.iov_base, mtcp_sendmsg(live(j, 0), &m, number(j, 3)));
}

/* [{..., 100}, {..., 200}]: where each piece lies in one buffer. */
static int64_t vector(const struct pkt_value *list, struct iovec iov[PKT_ITEMS_MAX])
{
	int64_t total = 0;

	for (uint32_t i = 0; i < list->count; i++) {
		iov[i].iov_len = (size_t)member_number(&list->item[i], "iov_len", 1);
		total += (int64_t)iov[i].iov_len;
	}
	return total;
}

static void vector_point(struct iovec *iov, uint32_t n, uint8_t *b)
{
	for (uint32_t i = 0; i < n; i++) {
		iov[i].iov_base = b;
		b += iov[i].iov_len;
	}
}

static int64_t call_writev(struct pkt_job *j)
{
	struct iovec iov[PKT_ITEMS_MAX];
	uint8_t *b = outgoing(j, vector(value(j, 1), iov));

	if (!b)
		return -1;
	vector_point(iov, value(j, 1)->count, b);
	return sent(j, b, mtcp_writev(live(j, 0), iov, (int)value(j, 1)->count));
}

static int64_t call_readv(struct pkt_job *j)
{
	struct iovec iov[PKT_ITEMS_MAX];
	uint8_t *b = buffer(j, vector(value(j, 1), iov));

	if (!b)
		return -1;
	vector_point(iov, value(j, 1)->count, b);
	return received(j, b, mtcp_readv(live(j, 0), iov, (int)value(j, 1)->count), 0);
}

static const struct pkt_value *message(struct pkt_job *j, struct iovec iov[PKT_ITEMS_MAX])
{
	const struct pkt_value *v = member(value(j, 1), "msg_iov", 1);

	if (v && v->kind == PKT_VALUE_LIST) {
		vector(v, iov);
		return v;
	}
	wrong(j, "no msg_iov in the message");
	return NULL;
}

static int64_t call_sendmsg(struct pkt_job *j)
{
	struct iovec iov[PKT_ITEMS_MAX];
	const struct pkt_value *v = message(j, iov);
	uint8_t *b = v ? outgoing(j, vector(v, iov)) : NULL;
	struct msghdr m = {.msg_iov = iov};

	if (!b)
		return -1;
	m.msg_iovlen = v->count;
	vector_point(iov, v->count, b);
	return sent(j, b, mtcp_sendmsg(live(j, 0), &m, number(j, 2)));
}

static int64_t call_recvmsg(struct pkt_job *j)
{
	struct iovec iov[PKT_ITEMS_MAX];
	const struct pkt_value *v = message(j, iov);
	uint8_t *b = v ? buffer(j, vector(v, iov)) : NULL;
	struct msghdr m = {.msg_iov = iov};

	if (!b)
		return -1;
	m.msg_iovlen = v->count;
	vector_point(iov, v->count, b);
	return received(j, b, mtcp_recvmsg(live(j, 0), &m, number(j, 2)), number(j, 2));
}

/* -- options
 * -------------------------------------------------------------------------------------------------
 */

/* [1], {onoff=1, linger=0}, {tv_sec=1, tv_usec=0}, "cubic": as `bytes` bytes. */
static bool option_bytes(struct pkt_job *j, const struct pkt_value *v,
	uint8_t out[OPTION_BYTES_MAX], socklen_t bytes)
{
	size_t each = bytes >= 16 && v->count == 2 ? 8 : 4;

	memset(out, 0, OPTION_BYTES_MAX);
	if (bytes > OPTION_BYTES_MAX || v->count * each > OPTION_BYTES_MAX)
		return wrong(j, "an option of %u bytes", (unsigned int)bytes) == 0;
	if (v->kind == PKT_VALUE_STRING) {
		snprintf((char *)out, OPTION_BYTES_MAX, "%s", v->string);
		return true;
	}
	if (v->kind == PKT_VALUE_INT)
		memcpy(out, &v->number, each);
	for (uint32_t i = 0; i < v->count; i++)
		memcpy(out + i * each, &v->item[i].number, each);
	return true;
}

static int64_t call_setsockopt(struct pkt_job *j)
{
	uint8_t bytes[OPTION_BYTES_MAX];
	socklen_t len = (socklen_t)number(j, 4);

	if (!option_bytes(j, value(j, 3), bytes, len))
		return -1;
	return mtcp_setsockopt(live(j, 0), number(j, 1), number(j, 2), bytes, len);
}

static int64_t call_getsockopt(struct pkt_job *j)
{
	const struct pkt_value *want = value(j, 3), *size = value(j, 4);
	uint8_t got[OPTION_BYTES_MAX] = {0}, expected[OPTION_BYTES_MAX];
	socklen_t len = sizeof(got);
	int32_t n;
	int rc;

	if (size->kind == PKT_VALUE_LIST && size->count == 1)
		len = (socklen_t)size->item[0].number;
	rc = mtcp_getsockopt(live(j, 0), number(j, 1), number(j, 2), got,
		len > sizeof(got) ? &(socklen_t){sizeof(got)} : &len);
	if (rc || want->kind == PKT_VALUE_ANY || !option_bytes(j, want, expected, len))
		return rc;
	if (len <= sizeof(got) && memcmp(got, expected, len) != 0) {
		memcpy(&n, got, sizeof(n));
		if (want->kind == PKT_VALUE_STRING)
			wrong(j, "the option is \"%.32s\"", (const char *)got);
		else
			wrong(j, "the option is [%d]", n);
	}
	return rc;
}

static int64_t call_fcntl(struct pkt_job *j)
{
	return mtcp_fcntl(live(j, 0), number(j, 1), number(j, 2));
}

static int64_t call_ioctl(struct pkt_job *j)
{
	const struct pkt_value *v = value(j, 2);
	int want = v->count ? (int)v->item[0].number : (int)v->number, got = want;
	int rc = mtcp_ioctl(live(j, 0), (unsigned long)(unsigned int)number(j, 1), &got);

	if (rc == 0 && v->kind != PKT_VALUE_ANY && got != want)
		wrong(j, "ioctl told %d", got);
	return rc;
}

/* -- waiting
 * ---------------------------------------------------------------------------------------------------
 */

static int64_t call_poll(struct pkt_job *j)
{
	const struct pkt_value *list = value(j, 0);
	struct pollfd fds[PKT_ITEMS_MAX];
	int rc;

	for (uint32_t i = 0; i < list->count; i++)
		fds[i] = (struct pollfd){
			.fd = fd_at(j, member_number(&list->item[i], "fd", 0))->live,
			.events = (short)member_number(&list->item[i], "events", 1),
		};
	rc = mtcp_poll(fds, list->count, number(j, 2));
	for (uint32_t i = 0; rc >= 0 && i < list->count; i++) {
		const struct pkt_value *want = member(&list->item[i], "revents", 2);

		if (want && want->kind == PKT_VALUE_INT && want->number != fds[i].revents)
			wrong(j, "revents of entry %u is 0x%x, expected 0x%x", i,
				(unsigned short)fds[i].revents, (unsigned int)want->number);
	}
	return rc;
}

static int64_t call_epoll_create(struct pkt_job *j)
{
	return opened(j, mtcp_epoll_create1(0));
}

static int64_t call_epoll_create1(struct pkt_job *j)
{
	return opened(j, mtcp_epoll_create1(number(j, 0)));
}

static int64_t call_epoll_ctl(struct pkt_job *j)
{
	const struct pkt_value *v = value(j, 3);
	struct epoll_event ev = {.events = (uint32_t)member_number(v, "events", 0)};

	ev.data.u64 = (uint64_t)member_number(v, "fd", 1);
	return mtcp_epoll_ctl(live(j, 0), number(j, 1), live(j, 2), &ev);
}

static int64_t call_epoll_wait(struct pkt_job *j)
{
	const struct pkt_value *v = value(j, 1);
	const struct pkt_value *item = v->kind == PKT_VALUE_LIST ? v->item : v;
	uint32_t want = v->kind == PKT_VALUE_LIST ? v->count : v->kind == PKT_VALUE_STRUCT;
	struct epoll_event ev[PKT_ITEMS_MAX];
	int max = number(j, 2) < PKT_ITEMS_MAX ? number(j, 2) : PKT_ITEMS_MAX;
	int rc = mtcp_epoll_wait(live(j, 0), ev, max, number(j, 3));

	for (uint32_t i = 0; i < want && (int)i < rc; i++) {
		uint32_t events = (uint32_t)member_number(&item[i], "events", 0);
		uint64_t fd = (uint64_t)member_number(&item[i], "fd", 1);

		if (ev[i].events != events || (member(&item[i], "fd", 1) && ev[i].data.u64 != fd))
			wrong(j, "event %u is 0x%x of %llu", i, ev[i].events,
				(unsigned long long)ev[i].data.u64);
	}
	return rc;
}

/* -- the table
 * --------------------------------------------------------------------------------------------------
 */

static const struct {
	const char *name;
	call_fn *fn;
} calls[] = {
	{"socket", call_socket},
	{"bind", call_bind},
	{"listen", call_listen},
	{"accept", call_accept},
	{"accept4", call_accept4},
	{"connect", call_connect},
	{"shutdown", call_shutdown},
	{"close", call_close},
	{"read", call_read},
	{"recv", call_recv},
	{"recvfrom", call_recv},
	{"readv", call_readv},
	{"recvmsg", call_recvmsg},
	{"write", call_write},
	{"send", call_send},
	{"sendto", call_sendto},
	{"writev", call_writev},
	{"sendmsg", call_sendmsg},
	{"setsockopt", call_setsockopt},
	{"getsockopt", call_getsockopt},
	{"fcntl", call_fcntl},
	{"ioctl", call_ioctl},
	{"poll", call_poll},
	{"epoll_create", call_epoll_create},
	{"epoll_create1", call_epoll_create1},
	{"epoll_ctl", call_epoll_ctl},
	{"epoll_wait", call_epoll_wait},
};

static call_fn *find(const char *name)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (strcmp(calls[i].name, name) == 0)
			return calls[i].fn;
	return NULL;
}

bool pkt_call_known(const char *name)
{
	return find(name) != NULL;
}

void pkt_call_run(void *arg)
{
	struct pkt_job *j = arg;

	errno = 0;
	j->result = find(j->call->name)(j);
	j->err = j->result < 0 ? errno : 0;
	mtcp_poll(NULL, 0, 0); /* the program goes to sleep until the next event */
	j->done_us = pkt_clock_us();
	j->done = true;
}
