/* Probes of names, options, and calls made in the wrong state. */
#include "probe.h"

#include <netinet/tcp.h>

static struct sockaddr_in name_of(int sd, int (*call)(int, struct sockaddr *, socklen_t *))
{
	struct sockaddr_in sa = {0};
	socklen_t len = sizeof(sa);

	need_equal(call(sd, (struct sockaddr *)&sa, &len), 0);
	need_equal(len, sizeof(sa));
	need_equal(sa.sin_family, AF_INET);
	return sa;
}

static void probe_own_names(void)
{
	struct sockaddr_in sa, local;
	socklen_t len = sizeof(sa);
	int sd = open_socket(0);

	sa = name_of(sd, mtcp_getsockname);
	need(!sa.sin_addr.s_addr && !sa.sin_port);
	need_errno(mtcp_getpeername(sd, (struct sockaddr *)&sa, &len), ENOTCONN);
	need_equal(mtcp_connect(sd, sa_of(&peer_addr), sizeof(peer_addr)), 0);
	local = name_of(sd, mtcp_getsockname);
	need(local.sin_addr.s_addr && local.sin_port);
	need(local.sin_addr.s_addr != peer_addr.sin_addr.s_addr);
	sa = name_of(sd, mtcp_getpeername);
	need_equal(sa.sin_port, peer_addr.sin_port);
	need_equal(sa.sin_addr.s_addr, peer_addr.sin_addr.s_addr);
	need_errno(mtcp_connect(sd, sa_of(&peer_addr), sizeof(peer_addr)), EISCONN);
	need_equal(mtcp_close(sd), 0);
	need_errno(mtcp_getsockname(sd, (struct sockaddr *)&sa, &len), EBADF);
}

/* A connection from a port of our choice; then the same port from a socket that listens. */
static void probe_bound_port(void)
{
	struct sockaddr_in local = {.sin_family = AF_INET}, sa;
	struct request r = {.mode = MODE_ECHO};
	int on = 1;

	for (uint16_t port = 20001; port < 20009; port++) {
		int sd = open_socket(0);

		local.sin_port = htons(port);
		need_equal(mtcp_setsockopt(sd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
		need_equal(mtcp_bind(sd, sa_of(&local), sizeof(local)), 0);
		need_errno(mtcp_bind(sd, sa_of(&local), sizeof(local)), EINVAL);
		need_equal(mtcp_connect(sd, sa_of(&peer_addr), sizeof(peer_addr)), 0);
		sa = name_of(sd, mtcp_getsockname);
		need_equal(ntohs(sa.sin_port), port);
		send_exactly(sd, &r, sizeof(r));
		send_pattern(sd, port, 0, 5000);
		recv_pattern(sd, port, 0, 5000);
		need_equal(mtcp_close(sd), 0);
	}
}

static void probe_listening(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET}, sa;
	int sd = open_socket(SOCK_NONBLOCK), other = open_socket(0), value = 0;
	socklen_t len = sizeof(value);

	need_errno(mtcp_accept(sd, NULL, NULL), EINVAL);
	need_equal(mtcp_bind(sd, sa_of(&any), sizeof(any)), 0);
	sa = name_of(sd, mtcp_getsockname);
	need(sa.sin_port);
	need_equal(mtcp_listen(sd, 8), 0);
	need_equal(mtcp_getsockopt(sd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len), 0);
	need_equal(value, 1);
	need_errno(mtcp_accept(sd, NULL, NULL), EAGAIN);
	need_equal(poll_one(sd, POLLIN, 0), 0);
	any.sin_port = sa.sin_port;
	need_errno(mtcp_bind(other, sa_of(&any), sizeof(any)), EADDRINUSE);
	need_errno(mtcp_connect(sd, sa_of(&peer_addr), sizeof(peer_addr)), EISCONN);
	need_equal(mtcp_close(sd), 0);
	need_equal(mtcp_bind(other, sa_of(&any), sizeof(any)), 0);
	need_equal(mtcp_close(other), 0);
}

static void probe_wrong_state(void)
{
	struct sockaddr_in nowhere = {.sin_family = AF_INET, .sin_port = htons(20100)};
	int sd = open_socket(0);
	char byte;

	need_errno(mtcp_read(sd, &byte, 1), ENOTCONN);
	need_errno(mtcp_send(sd, "x", 1, MSG_NOSIGNAL), EPIPE);
	need_errno(mtcp_shutdown(sd, SHUT_WR), ENOTCONN);
	need_equal(poll_one(sd, POLLIN | POLLOUT, 0), POLLOUT | POLLHUP);
	nowhere.sin_addr.s_addr = htonl(0xc0000201); /* 192.0.2.1 is not ours */
	need_errno(mtcp_bind(sd, sa_of(&nowhere), sizeof(nowhere)), EADDRNOTAVAIL);
	need_errno(mtcp_bind(sd, sa_of(&nowhere), 3), EINVAL);
	need_equal(mtcp_close(sd), 0);
	need_errno(mtcp_read(sd, &byte, 1), EBADF);
	need_errno(mtcp_read(-1, &byte, 1), EBADF);
	need_errno(mtcp_socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT);
}

static int option(int sd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	need_equal(mtcp_getsockopt(sd, level, name, &value, &len), 0);
	return value;
}

static void set_option(int sd, int level, int name, int value)
{
	need_equal(mtcp_setsockopt(sd, level, name, &value, sizeof(value)), 0);
}

static void probe_options(void)
{
	int sd = ask(MODE_ECHO, 0, 0, 0), one = 1;

	need_equal(option(sd, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
	need_equal(option(sd, SOL_SOCKET, SO_DOMAIN), AF_INET);
	need_equal(option(sd, SOL_SOCKET, SO_PROTOCOL), IPPROTO_TCP);
	need_equal(option(sd, SOL_SOCKET, SO_ACCEPTCONN), 0);
	need_equal(option(sd, SOL_SOCKET, SO_ERROR), 0);
	need_equal(option(sd, IPPROTO_TCP, TCP_NODELAY), 0);
	set_option(sd, IPPROTO_TCP, TCP_NODELAY, 1);
	need_equal(option(sd, IPPROTO_TCP, TCP_NODELAY), 1);
	set_option(sd, SOL_SOCKET, SO_KEEPALIVE, 1);
	need_equal(option(sd, SOL_SOCKET, SO_KEEPALIVE), 1);
	set_option(sd, SOL_SOCKET, SO_SNDBUF, 20000);
	need_equal(option(sd, SOL_SOCKET, SO_SNDBUF), 40000);
	set_option(sd, SOL_SOCKET, SO_RCVBUF, 30000);
	need_equal(option(sd, SOL_SOCKET, SO_RCVBUF), 60000);
	need(option(sd, IPPROTO_TCP, TCP_MAXSEG) >= 536);
	need_errno(mtcp_setsockopt(sd, IPPROTO_TCP, 9999, &one, sizeof(one)), ENOPROTOOPT);
	need_errno(mtcp_setsockopt(sd, IPPROTO_TCP, TCP_NODELAY, &one, 1), EINVAL);
	send_pattern(sd, 3, 0, 200000 / 10);
	recv_pattern(sd, 3, 0, 200000 / 10);
	need_equal(mtcp_close(sd), 0);
}

const struct probe probe_names[] = {
	{"own_names", probe_own_names},
	{"bound_port", probe_bound_port},
	{"listening", probe_listening},
	{"wrong_state", probe_wrong_state},
	{"options", probe_options},
	{0},
};
