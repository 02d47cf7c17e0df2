/* Sockets of AF_INET6: names, families, IPV6_V6ONLY, IPv4 peers mapped. */
#include "fake_daemon.h"

#include <netinet/in.h>

static struct sockaddr_in6 addr6(const char *text, uint16_t port)
{
	struct sockaddr_in6 sa = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

	assert_int_equal(inet_pton(AF_INET6, text, &sa.sin6_addr), 1);
	return sa;
}

static int bind6(int sd, const char *text, uint16_t port)
{
	struct sockaddr_in6 sa = addr6(text, port);

	return mtcp_bind(sd, (struct sockaddr *)&sa, sizeof(sa));
}

static int connect6(int sd, const char *text, uint16_t port)
{
	struct sockaddr_in6 sa = addr6(text, port);

	return mtcp_connect(sd, (struct sockaddr *)&sa, sizeof(sa));
}

static int socket6(void)
{
	int sd = mtcp_socket(AF_INET6, SOCK_STREAM, 0);

	assert_true(sd >= 0);
	return sd;
}

static int set_v6only(int sd, int on)
{
	return mtcp_setsockopt(sd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
}

static void assert_name(const struct sockaddr_in6 *sa, socklen_t len, const char *text)
{
	struct in6_addr want;

	assert_int_equal(inet_pton(AF_INET6, text, &want), 1);
	assert_int_equal(len, sizeof(*sa));
	assert_int_equal(sa->sin6_family, AF_INET6);
	assert_memory_equal(&sa->sin6_addr, &want, sizeof(want));
}

static void test_ip6_given_connect_expected_names_of_its_family(void **state)
{
	int sd = socket6(), domain = 0;
	struct sockaddr_in6 sa;
	socklen_t len = sizeof(domain);

	(void)state;
	assert_int_equal(mtcp_getsockopt(sd, SOL_SOCKET, SO_DOMAIN, &domain, &len), 0);
	assert_int_equal(domain, AF_INET6);
	assert_int_equal(connect6(sd, "2001:db8::2", FAKE_ECHO), 0);
	len = sizeof(sa);
	assert_int_equal(mtcp_getpeername(sd, (struct sockaddr *)&sa, &len), 0);
	assert_name(&sa, len, "2001:db8::2");
	assert_int_equal(ntohs(sa.sin6_port), FAKE_ECHO);
}

/* RFC 3493 section 3.7. The fake daemon's own address is 10.0.0.1. */
static void test_ip6_given_mapped_peer_expected_mapped_names(void **state)
{
	int sd = socket6();
	struct sockaddr_in6 sa;
	socklen_t len = sizeof(sa);

	(void)state;
	assert_int_equal(connect6(sd, "::ffff:10.0.0.2", FAKE_ECHO), 0);
	assert_int_equal(mtcp_getsockname(sd, (struct sockaddr *)&sa, &len), 0);
	assert_name(&sa, len, "::ffff:10.0.0.1");
	len = 8; /* truncated, and told how long it is */
	assert_int_equal(mtcp_getpeername(sd, (struct sockaddr *)&sa, &len), 0);
	assert_int_equal(len, sizeof(sa));
}

static void test_ip6_given_other_family_or_short_name_expected_linux_errors(void **state)
{
	struct sockaddr_in6 sa6 = addr6("2001:db8::2", FAKE_ECHO);
	struct sockaddr_in sa4 = fake_addr(FAKE_ECHO);
	int s4 = mtcp_socket(AF_INET, SOCK_STREAM, 0), s6 = socket6();

	(void)state;
	assert_errno(mtcp_connect(s4, (struct sockaddr *)&sa6, sizeof(sa6)), EAFNOSUPPORT);
	assert_errno(mtcp_connect(s6, (struct sockaddr *)&sa4, sizeof(sa4)), EAFNOSUPPORT);
	assert_errno(mtcp_connect(s6, (struct sockaddr *)&sa6, 23), EINVAL);
	assert_errno(mtcp_bind(s6, (struct sockaddr *)&sa6, 16), EINVAL);
	assert_errno(connect6(s6, "::", FAKE_ECHO), ECONNREFUSED);
	assert_errno(connect6(s6, "::ffff:0.0.0.0", FAKE_ECHO), ECONNREFUSED);
	assert_int_equal(mtcp_connect(s6, (struct sockaddr *)&sa6, 24), 0); /* as RFC 2133 had it */
}

static void test_ip6_given_v6only_expected_no_mapped_names(void **state)
{
	int s6 = socket6(), s4 = mtcp_socket(AF_INET, SOCK_STREAM, 0), on = -1;
	socklen_t len = sizeof(on);

	(void)state;
	assert_int_equal(mtcp_getsockopt(s6, IPPROTO_IPV6, IPV6_V6ONLY, &on, &len), 0);
	assert_int_equal(on, 0);
	assert_int_equal(set_v6only(s6, 1), 0);
	assert_int_equal(mtcp_getsockopt(s6, IPPROTO_IPV6, IPV6_V6ONLY, &on, &len), 0);
	assert_int_equal(on, 1);
	assert_errno(bind6(s6, "::ffff:10.0.0.1", 80), EINVAL);
	assert_errno(connect6(s6, "::ffff:10.0.0.2", FAKE_ECHO), ENETUNREACH);
	assert_int_equal(bind6(s6, "::", 8080), 0);
	assert_errno(set_v6only(s6, 0), EINVAL); /* bound */
	assert_errno(set_v6only(s4, 1), ENOPROTOOPT);
	assert_errno(mtcp_getsockopt(s4, IPPROTO_IPV6, IPV6_V6ONLY, &on, &len), ENOPROTOOPT);
}

/* A listener of both families: the peer, 10.0.0.2, appears mapped; accept inherits the family. */
static void test_ip6_given_ip4_client_expected_mapped_accept(void **state)
{
	int l = socket6(), c, domain = 0;
	struct sockaddr_in6 sa;
	socklen_t len = sizeof(sa);

	(void)state;
	assert_int_equal(bind6(l, "::", 8080), 0);
	assert_int_equal(mtcp_getsockname(l, (struct sockaddr *)&sa, &len), 0);
	assert_name(&sa, len, "::");
	assert_int_equal(mtcp_listen(l, 8), 0);
	fake_connected(8080, 0);
	c = mtcp_accept(l, (struct sockaddr *)&sa, &len);
	assert_true(c >= 0);
	assert_name(&sa, len, "::ffff:10.0.0.2");
	len = sizeof(domain);
	assert_int_equal(mtcp_getsockopt(c, SOL_SOCKET, SO_DOMAIN, &domain, &len), 0);
	assert_int_equal(domain, AF_INET6);
}

static void test_ip6_given_session_expected_daemon_serves_it(void **state)
{
	(void)state;
	socket6();
	assert_true(mtcpi_serves_ip6());
}

#define T(f) cmocka_unit_test_setup_teardown(f, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_ip6_given_connect_expected_names_of_its_family),
		T(test_ip6_given_mapped_peer_expected_mapped_names),
		T(test_ip6_given_other_family_or_short_name_expected_linux_errors),
		T(test_ip6_given_v6only_expected_no_mapped_names),
		T(test_ip6_given_ip4_client_expected_mapped_accept),
		T(test_ip6_given_session_expected_daemon_serves_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
