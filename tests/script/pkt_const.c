#include "pkt_const.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define C(name)                                                                                    \
	{                                                                                          \
#name, name                                                                        \
	}

struct named {
	const char *name;
	int64_t value;
};

static const struct named constants[] = {
	C(AF_INET),
	C(AF_INET6),
	C(PF_INET),
	C(PF_INET6),
	C(SOCK_STREAM),
	C(SOCK_DGRAM),
	C(SOCK_NONBLOCK),
	C(SOCK_CLOEXEC),
	C(IPPROTO_IP),
	C(IPPROTO_IPV6),
	C(IPPROTO_TCP),
	C(IPPROTO_UDP),
	C(INADDR_ANY),
	C(INADDR_LOOPBACK),
	C(SHUT_RD),
	C(SHUT_WR),
	C(SHUT_RDWR),
	/* levels and options */
	C(SOL_SOCKET),
	{"SOL_TCP", IPPROTO_TCP},
	C(SOL_IP),
	C(SO_ACCEPTCONN),
	C(SO_ERROR),
	C(SO_KEEPALIVE),
	C(SO_LINGER),
	C(SO_OOBINLINE),
	C(SO_RCVBUF),
	C(SO_RCVLOWAT),
	C(SO_RCVTIMEO),
	C(SO_REUSEADDR),
	C(SO_REUSEPORT),
	C(SO_SNDBUF),
	C(SO_SNDLOWAT),
	C(SO_SNDTIMEO),
	C(SO_TYPE),
	C(SO_DOMAIN),
	C(SO_PROTOCOL),
	C(SO_PRIORITY),
	C(SO_MARK),
	C(SO_ZEROCOPY),
	C(SO_MAX_PACING_RATE),
	C(SO_TIMESTAMPING),
	C(SO_INCOMING_CPU),
	C(TCP_NODELAY),
	C(TCP_MAXSEG),
	C(TCP_CORK),
	C(TCP_KEEPIDLE),
	C(TCP_KEEPINTVL),
	C(TCP_KEEPCNT),
	C(TCP_SYNCNT),
	C(TCP_LINGER2),
	C(TCP_DEFER_ACCEPT),
	C(TCP_WINDOW_CLAMP),
	C(TCP_INFO),
	C(TCP_QUICKACK),
	C(TCP_CONGESTION),
	C(TCP_USER_TIMEOUT),
	C(TCP_FASTOPEN),
	C(TCP_FASTOPEN_CONNECT),
	C(TCP_FASTOPEN_NO_COOKIE),
	C(TCP_TIMESTAMP),
	C(TCP_NOTSENT_LOWAT),
	C(TCP_INQ),
	C(TCP_THIN_LINEAR_TIMEOUTS),
	C(TCP_THIN_DUPACK),
	C(IP_TOS),
	C(IP_TTL),
	C(IP_MTU_DISCOVER),
	C(IP_MTU),
	C(IP_RECVERR),
	C(IPV6_V6ONLY),
	/* flags */
	C(MSG_OOB),
	C(MSG_PEEK),
	C(MSG_DONTWAIT),
	C(MSG_WAITALL),
	C(MSG_TRUNC),
	C(MSG_NOSIGNAL),
	C(MSG_MORE),
	C(MSG_EOR),
	C(MSG_FASTOPEN),
	C(MSG_ERRQUEUE),
	C(MSG_ZEROCOPY),
	C(F_GETFL),
	C(F_SETFL),
	C(F_GETFD),
	C(F_SETFD),
	C(FD_CLOEXEC),
	C(O_RDONLY),
	C(O_WRONLY),
	C(O_RDWR),
	C(O_NONBLOCK),
	C(FIONREAD),
	C(FIONBIO),
	C(SIOCINQ),
	C(SIOCOUTQ),
	C(TIOCOUTQ),
	C(SIOCOUTQNSD),
	/* events */
	C(POLLIN),
	C(POLLOUT),
	C(POLLERR),
	C(POLLHUP),
	C(POLLNVAL),
	C(POLLPRI),
	C(POLLRDHUP),
	C(POLLRDNORM),
	C(POLLWRNORM),
	C(EPOLLIN),
	C(EPOLLOUT),
	C(EPOLLERR),
	C(EPOLLHUP),
	C(EPOLLPRI),
	C(EPOLLRDHUP),
	C(EPOLLET),
	C(EPOLLONESHOT),
	C(EPOLLEXCLUSIVE),
	C(EPOLLRDNORM),
	C(EPOLLWRNORM),
	C(EPOLL_CTL_ADD),
	C(EPOLL_CTL_MOD),
	C(EPOLL_CTL_DEL),
	C(EPOLL_CLOEXEC),
	/* struct tcp_info: states as linux/tcp.h numbers them, and what the fields hold */
	{"TCP_ESTABLISHED", 1},
	{"TCP_SYN_SENT", 2},
	{"TCP_SYN_RECV", 3},
	{"TCP_FIN_WAIT1", 4},
	{"TCP_FIN_WAIT2", 5},
	{"TCP_TIME_WAIT", 6},
	{"TCP_CLOSE", 7},
	{"TCP_CLOSE_WAIT", 8},
	{"TCP_LAST_ACK", 9},
	{"TCP_LISTEN", 10},
	{"TCP_CLOSING", 11},
	C(TCP_CA_Open),
	C(TCP_CA_Disorder),
	C(TCP_CA_CWR),
	C(TCP_CA_Recovery),
	C(TCP_CA_Loss),
	C(TCPI_OPT_TIMESTAMPS),
	C(TCPI_OPT_SACK),
	C(TCPI_OPT_WSCALE),
	C(TCPI_OPT_ECN),
	C(TCPI_OPT_ECN_SEEN),
	C(TCPI_OPT_SYN_DATA),
	{"TCP_INFINITE_SSTHRESH", 0x7fffffff},
};

static const struct named errors[] = {
	C(EPERM),
	C(ENOENT),
	C(EINTR),
	C(EIO),
	C(EBADF),
	C(EAGAIN),
	C(EWOULDBLOCK),
	C(ENOMEM),
	C(EACCES),
	C(EFAULT),
	C(EEXIST),
	C(EINVAL),
	C(EMFILE),
	C(ENFILE),
	C(ENOTTY),
	C(EPIPE),
	C(ENOTSOCK),
	C(EDESTADDRREQ),
	C(EMSGSIZE),
	C(EPROTOTYPE),
	C(ENOPROTOOPT),
	C(EPROTONOSUPPORT),
	C(ESOCKTNOSUPPORT),
	C(EOPNOTSUPP),
	C(EAFNOSUPPORT),
	C(EADDRINUSE),
	C(EADDRNOTAVAIL),
	C(ENETDOWN),
	C(ENETUNREACH),
	C(ENETRESET),
	C(ECONNABORTED),
	C(ECONNRESET),
	C(ENOBUFS),
	C(EISCONN),
	C(ENOTCONN),
	C(ETIMEDOUT),
	C(ECONNREFUSED),
	C(EHOSTDOWN),
	C(EHOSTUNREACH),
	C(EALREADY),
	C(EINPROGRESS),
	C(EPROTO),
	C(ENONET),
	C(ESRCH),
	C(ENOSPC),
	C(ENODEV),
	C(EBUSY),
};

static bool find(const struct named *table, size_t n, const char *name, int64_t *out)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(table[i].name, name) == 0) {
			*out = table[i].value;
			return true;
		}
	return false;
}

bool pkt_const(const char *name, int64_t *out)
{
	return find(constants, sizeof(constants) / sizeof(constants[0]), name, out) ||
	       pkt_errno(name, out);
}

bool pkt_errno(const char *name, int64_t *out)
{
	return find(errors, sizeof(errors) / sizeof(errors[0]), name, out);
}

const char *pkt_errno_name(int err)
{
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (errors[i].value == err)
			return errors[i].name;
	return "E?";
}
