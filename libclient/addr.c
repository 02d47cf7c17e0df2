/* Addresses: struct sockaddr outside, 16 bytes (IPv4-mapped) and a port in host order inside.
 *
 * A socket of AF_INET takes and shows sockaddr_in, one of AF_INET6 sockaddr_in6, in which an
 * IPv4 peer appears mapped (RFC 3493 section 3.7). The wildcards stay apart inside: :: is all
 * zero and means both families unless IPV6_V6ONLY is set, 0.0.0.0 is mapped and means IPv4.
 */
#include <libclient/client.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

enum {
	SIN6_LEN_MIN = 24, /* without the scope, as in RFC 2133; Linux takes it */
};

bool addr_is_ip4(const uint8_t addr[16])
{
	return !memcmp(addr, mapped, sizeof(mapped));
}

/* A wildcard of either family. */
bool addr_is_any(const uint8_t addr[16])
{
	static const uint8_t zero[16];

	return !memcmp(addr, zero, 16) || (addr_is_ip4(addr) && !memcmp(addr + 12, zero, 4));
}

/* Who binds or connects without an address means this one. */
void addr_any(bool ip6, uint8_t addr[16])
{
	memset(addr, 0, 16);
	if (!ip6)
		memcpy(addr, mapped, sizeof(mapped));
}

static int from_sockaddr6(
	const struct sockaddr *sa, socklen_t len, uint8_t addr[16], uint16_t *port)
{
	struct sockaddr_in6 sin6 = {0};

	if (len < SIN6_LEN_MIN)
		return -EINVAL;
	memcpy(&sin6, sa, len < sizeof(sin6) ? len : sizeof(sin6));
	memcpy(addr, &sin6.sin6_addr, 16);
	*port = ntohs(sin6.sin6_port);
	return 0;
}

/* 0, -EINVAL (length), -EAFNOSUPPORT: not of the socket's family. */
int addr_from_sockaddr(
	bool ip6, const struct sockaddr *sa, socklen_t len, uint8_t addr[16], uint16_t *port)
{
	struct sockaddr_in sin;

	if (!sa)
		return -EFAULT;
	if (len < sizeof(sin))
		return -EINVAL;
	memcpy(&sin, sa, sizeof(sin));
	if (sin.sin_family != (ip6 ? AF_INET6 : AF_INET))
		return -EAFNOSUPPORT;
	if (ip6)
		return from_sockaddr6(sa, len, addr, port);
	memcpy(addr, mapped, sizeof(mapped));
	memcpy(addr + 12, &sin.sin_addr, 4);
	*port = ntohs(sin.sin_port);
	return 0;
}

/* Truncates to *len as POSIX wants, and stores the true length there. */
void addr_to_sockaddr(
	bool ip6, const uint8_t addr[16], uint16_t port, struct sockaddr *sa, socklen_t *len)
{
	struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(port)};
	socklen_t room = *len;

	if (ip6) {
		memcpy(&sin6.sin6_addr, addr, 16);
		memcpy(sa, &sin6, room < sizeof(sin6) ? room : sizeof(sin6));
		*len = sizeof(sin6);
		return;
	}
	memcpy(&sin.sin_addr, addr + 12, 4);
	memcpy(sa, &sin, room < sizeof(sin) ? room : sizeof(sin));
	*len = sizeof(sin);
}
