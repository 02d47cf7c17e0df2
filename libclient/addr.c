/* Addresses: struct sockaddr outside, 16 bytes (IPv4-mapped) and a port in host order inside. */
#include <libclient/client.h>

#include <arpa/inet.h>
#include <string.h>

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* INADDR_ANY becomes all zeroes. 0, -EINVAL (length), -EAFNOSUPPORT. */
int addr_from_sockaddr(const struct sockaddr *sa, socklen_t len, uint8_t addr[16], uint16_t *port)
{
	struct sockaddr_in sin;

	if (!sa)
		return -EFAULT;
	if (len < sizeof(sin))
		return -EINVAL;
	memcpy(&sin, sa, sizeof(sin));
	if (sin.sin_family != AF_INET)
		return -EAFNOSUPPORT;
	memset(addr, 0, 16);
	if (sin.sin_addr.s_addr != htonl(INADDR_ANY)) {
		memcpy(addr, mapped, sizeof(mapped));
		memcpy(addr + 12, &sin.sin_addr, 4);
	}
	*port = ntohs(sin.sin_port);
	return 0;
}

/* Truncates to *len as POSIX wants, and stores the true length there. */
void addr_to_sockaddr(const uint8_t addr[16], uint16_t port, struct sockaddr *sa, socklen_t *len)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(port)};
	socklen_t room = *len;

	memcpy(&sin.sin_addr, addr + 12, 4);
	memcpy(sa, &sin, room < sizeof(sin) ? room : sizeof(sin));
	*len = sizeof(sin);
}
