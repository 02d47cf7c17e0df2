/* Configuration files, good and bad: every error is found, told with file and line, and says
 * what would be right; and the example file is what the table says. */
#include <ctl/config.h>
#include <ctl/log.h>
#include <ctl/options.h>
#include <net/route.h>
#include <tcp/cc.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MINIMAL "[port]\ndevice = net_tap0,iface=x\naddress = 10.0.0.2/24\n"

struct scratch {
	char dir[64];
	char file[96];
	char report[16384];
};

static void keep_line(void *arg, const char *line)
{
	struct scratch *s = arg;

	assert_true(strlen(s->report) + strlen(line) + 2 < sizeof(s->report));
	strcat(s->report, line);
	strcat(s->report, "\n");
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
	struct scratch *s = calloc(1, sizeof(*s));

	strcpy(s->dir, "/tmp/mtcpd_config_XXXXXX");
	if (mkdtemp(s->dir) == NULL)
		return -1;
	snprintf(s->file, sizeof(s->file), "%s/mtcpd.conf", s->dir);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = {
		"mtcpd.conf", "conf.d/10-a.conf", "conf.d/20-b.conf", "conf.d/ignored.txt"};
	struct scratch *s = *state;
	char path[128];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", s->dir, names[i]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/conf.d", s->dir);
	rmdir(path);
	rmdir(s->dir);
	free(s);
	return 0;
}

static void write_drop_in(const struct scratch *s, const char *name, const char *text)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/conf.d", s->dir);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/conf.d/%s", s->dir, name);
	write_file(path, text);
}

static unsigned int load(struct scratch *s, struct config *c, const char *text)
{
	s->report[0] = '\0';
	write_file(s->file, text);
	return config_load(c, s->file, keep_line, s);
}

static void test_options_given_table_all_rows_are_sound(void **state)
{
	struct config c;
	char accepted[1024];
	char long_text[4096];

	(void)state;
	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	config_default(&c);
	for (size_t i = 0; i < option_count; i++) {
		const struct option *o = &option_table[i];

		assert_ptr_equal(option_find(o->section, o->key), o); /* no key twice */
		assert_true(o->value != NULL || o->example != NULL);
		assert_int_equal(option_parse(o, &c, o->value ? o->value : o->example), 0);
		assert_int_equal(option_parse(o, &c, long_text), -EINVAL);
		assert_true(strlen(o->text) > 0);
		assert_true(strlen(option_accepted(o, accepted, sizeof(accepted))) > 0);
	}
}

static void test_config_given_minimal_file_has_defaults(void **state)
{
	struct scratch *s = *state;
	struct config c;

	assert_int_equal(load(s, &c, MINIMAL), 0);
	assert_string_equal(s->report, "");
	assert_string_equal(c.runtime_dir, "/run/mtcpd");
	assert_string_equal(c.group, "mtcp");
	assert_int_equal(c.log_level, LOG_LEVEL_INFO);
	assert_string_equal(c.port.device, "net_tap0,iface=x");
	assert_int_equal(c.port.mtu_bytes, 1500);
	assert_int_equal(c.port.queues, 1);
	assert_false(c.port.mac_given);
	assert_int_equal(c.engine_count, 1);
	assert_int_equal(c.cores[0], -1);
	assert_int_equal(c.addr_count, 1);
	assert_int_equal(c.addrs[0].prefix_len, 24);
	assert_int_equal(net_addr_to_ip4(&c.addrs[0].addr), inet_addr("10.0.0.2"));
	assert_int_equal(c.tcp.msl_us, 30000000);
	assert_int_equal(c.tcp.rcvbuf_bytes, 128 << 10);
	assert_int_equal(c.limits.session_up_bytes, 256 << 20);
	assert_true(c.tcp.timestamps);
}

static void test_config_given_all_types_stores_them(void **state)
{
	struct scratch *s = *state;
	struct config c;

	assert_int_equal(load(s, &c,
				 MINIMAL "gateway = 10.0.0.1\nmac = 02:00:5e:10:00:fe\n"
					 "[daemon]\nlog_level = debug ; chatty\nhugepages = no\n"
					 "[engine]\ncores = 1-3, 5\n"
					 "[limits]\nrcvbuf_max = 16M\nring_slots = 1024\n"
					 "[tcp]\nephemeral_ports = 1024-2023\ntimestamps = no\n"
					 "delack_ms = 25\n"),
		0);
	assert_int_equal(net_addr_to_ip4(&c.gateway), inet_addr("10.0.0.1"));
	assert_memory_equal(c.port.mac, "\x02\x00\x5e\x10\x00\xfe", 6);
	assert_true(c.port.mac_given);
	assert_int_equal(c.log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(c.hugepages, CONFIG_HUGEPAGES_NO);
	assert_int_equal(c.engine_count, 4);
	assert_int_equal(c.cores[2], 3);
	assert_int_equal(c.cores[3], 5);
	assert_int_equal(c.port.queues, 4);
	assert_int_equal(c.limits.rcvbuf_max_bytes, 16 << 20);
	assert_int_equal(c.limits.ring_slots, 1024);
	assert_int_equal(c.port_first, 1024);
	assert_int_equal(c.port_last, 2023);
	assert_false(c.tcp.timestamps);
	assert_int_equal(c.tcp.delack_us, 25000);
}

static void test_config_given_many_errors_reports_each_with_line(void **state)
{
	struct scratch *s = *state;
	struct config c;
	unsigned int errors = load(s, &c,
		"[port]\n"
		"device = eth0\n"
		"adress = 10.0.0.2/24\n"
		"[engine]\n"
		"spin_us = 20\n"
		"spin_us = 30\n"
		"[nowhere]\n"
		"x = 1\n"
		"this is no line\n"
		"[limits]\n"
		"ring_slots = 100\n"
		"sndbuf = 9999G\n");

	assert_int_equal(errors, 7);
	assert_non_null(strstr(s->report, "mtcpd.conf:2: [port] device = 'eth0': expected a PCI "
					  "address or one of net_tapN, net_af_packetN"));
	assert_non_null(strstr(s->report, "mtcpd.conf:3: [port] has no key 'adress'; there are: "
					  "device, address, gateway"));
	assert_non_null(
		strstr(s->report, "mtcpd.conf:6: [engine] spin_us was already given in line 5"));
	assert_non_null(strstr(s->report, "mtcpd.conf:8: no section [nowhere] for 'x'; there are: "
					  "daemon, port, route, engine, limits, tcp"));
	assert_non_null(strstr(s->report, "mtcpd.conf:9: expected [section], key = value"));
	assert_non_null(strstr(s->report, "mtcpd.conf:11: [limits] ring_slots = '100': expected a "
					  "power of two from 16 to 16384"));
	assert_non_null(strstr(s->report, "mtcpd.conf:12: [limits] sndbuf = '9999G': expected "
					  "bytes from 4K to 1G, suffix K, M or G"));
}

#define TWO_FAMILIES "[port]\ndevice = net_tap0,iface=x\naddress = 10.0.0.2/24, 2001:db8::2/64\n"

static void test_config_given_both_families_fills_interface(void **state)
{
	struct scratch *s = *state;
	struct net_addr own, gw;
	struct net_iface iface;
	struct config c;

	inet_pton(AF_INET6, "2001:db8::2", own.b);
	inet_pton(AF_INET6, "fe80::1", gw.b);
	assert_int_equal(load(s, &c, TWO_FAMILIES "gateway = fe80::1, 10.0.0.1\nslaac = yes\n"), 0);
	assert_int_equal(c.addr_count, 2);
	assert_true(c.slaac && c.dad);
	assert_int_equal(config_iface(&c, &iface), 0);
	assert_true(net_iface_has(&iface, &own));
	assert_true(net_addr_equal(&iface.gateway6, &gw));
	assert_int_equal(iface.gateway_be, inet_addr("10.0.0.1"));
}

static void test_config_given_wrong_ip6_explains(void **state)
{
	struct scratch *s = *state;
	struct config c;

	assert_int_equal(load(s, &c, TWO_FAMILIES "gateway = 2001:db8:1::1\n"), 1);
	assert_non_null(strstr(s->report, "gateway: inside no prefix"));
	assert_int_equal(load(s, &c, TWO_FAMILIES "mtu = 1279\n"), 1);
	assert_non_null(strstr(s->report, "IPv6 takes at least 1280"));
	assert_int_equal(load(s, &c, "[port]\ndevice = net_tap0,iface=x\nslaac = yes\n"), 0);
	assert_int_equal(c.addr_count, 0);
}

static void test_config_given_routes_reads_prefixes_and_names(void **state)
{
	struct scratch *s = *state;
	struct config c;

	assert_int_equal(load(s, &c,
				 MINIMAL "[route]\ncongestion_control = 10.0.0.0/8 dctcp, "
					 "::/0  bbr,0.0.0.0/0 newreno\n"),
		0);
	assert_int_equal(c.route_count, 3);
	assert_int_equal(c.routes[0].prefix_len, 96 + 8);
	assert_int_equal(c.routes[0].value, TCP_CC_DCTCP);
	assert_int_equal(c.routes[1].prefix_len, 0);
	assert_int_equal(c.routes[1].value, TCP_CC_BBR);
	assert_true(net_addr_is_any4(&c.routes[2].prefix));
	assert_int_equal(c.routes[2].prefix_len, 96);
	assert_int_equal(
		load(s, &c, MINIMAL "[route]\ncongestion_control = 10.0.0.0/8 plugin\n"), 1);
	assert_non_null(strstr(s->report, "plugin takes a congestion_plugin"));
	assert_int_equal(
		load(s, &c, MINIMAL "[route]\ncongestion_control = 10.0.0.0/8 agent\n"), 1);
	assert_non_null(strstr(s->report, "agent takes a congestion_agent"));
	assert_int_equal(load(s, &c, MINIMAL "[tcp]\ncongestion_control = agent\n"), 1);
	assert_int_equal(load(s, &c, MINIMAL "[tcp]\ncongestion_agent = bbr\n"), 1);
	assert_non_null(strstr(s->report, "there is a 'bbr' already"));
	assert_int_equal(load(s, &c,
				 MINIMAL "[tcp]\ncongestion_agent = aimd\n"
					 "congestion_agent_user = somebody\n"
					 "congestion_agent_interval_us = 200\n"
					 "congestion_control = agent\n"),
		0);
	assert_string_equal(c.tcp.cc_agent, "aimd");
	assert_string_equal(c.congestion_agent_user, "somebody");
	assert_int_equal(c.tcp.cc_agent_interval_us, 200);
	assert_int_equal(c.tcp.cc, TCP_CC_AGENT);
}

static void test_config_given_bad_values_refuses_each(void **state)
{
	static const struct {
		const char *section, *key, *value;
	} bad[] = {
		{"port", "device", "net_tap"},
		{"port", "device", "net_tap0x"},
		{"port", "device", "net_bonding0"},
		{"port", "device", ""},
		{"port", "address", "10.0.0.2"},
		{"port", "address", "10.0.0.2/33"},
		{"port", "address", "10.0.0.2/0"},
		{"port", "address", "10.0.0.2/24,"},
		{"port", "address", "10.0.0.256/24"},
		{"port", "address", "2001:db8::2"},
		{"port", "address", "2001:db8::2/129"},
		{"port", "address", "2001:db8::2/0"},
		{"port", "address", "2001:db8:::2/64"},
		{"port", "address", "::ffff:10.0.0.2/120"},
		{"route", "congestion_control", ""},
		{"route", "congestion_control", "10.0.0.0/8"},
		{"route", "congestion_control", "10.0.0.0/8 vegas"},
		{"route", "congestion_control", "10.0.0.0/33 bbr"},
		{"route", "congestion_control", "10.0.0.1/8 bbr"},
		{"route", "congestion_control", "10.0.0.0 bbr"},
		{"route", "congestion_control", "2001:db8::1/64 bbr"},
		{"route", "congestion_control", "bbr 10.0.0.0/8"},
		{"route", "congestion_control", "10.0.0.0/8 bbr, 10.0.0.0/8 cubic"},
		{"route", "congestion_control", "10.0.0.0/8 bbr,"},
		{"port", "gateway", "gw"},
		{"port", "gateway", "10.0.0.1, 10.0.0.3"},
		{"port", "gateway", "fe80::1, fe80::2"},
		{"port", "gateway", "fe80::1,"},
		{"port", "slaac", "maybe"},
		{"port", "mac", "01:00:00:00:00:01"},
		{"port", "mac", "2:0:0:0:0:1"},
		{"port", "mtu", "0x5dc"},
		{"port", "mtu", "-1500"},
		{"port", "mtu", "1500 "},
		{"port", "mtu", "575"},
		{"port", "mtu", "99999999999999999999999"},
		{"engine", "cores", "3-1"},
		{"engine", "cores", "1,1"},
		{"engine", "cores", "0-64"},
		{"engine", "cores", ""},
		{"limits", "sndbuf", "1KB"},
		{"limits", "sndbuf", "K"},
		{"limits", "sndbuf", "18446744073709551615G"},
		{"tcp", "timestamps", "maybe"},
		{"tcp", "ephemeral_ports", "0-10"},
		{"tcp", "ephemeral_ports", "1-65536"},
		{"daemon", "runtime_dir", "run/mtcpd"},
		{"daemon", "log_level", "info|debug"},
		{"daemon", "log_level", ""},
	};
	struct config c, before;

	(void)state;
	config_default(&c);
	before = c;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const struct option *o = option_find(bad[i].section, bad[i].key);

		assert_non_null(o);
		if (option_parse(o, &c, bad[i].value) != -EINVAL)
			fail_msg("[%s] %s = '%s' was accepted", bad[i].section, bad[i].key,
				bad[i].value);
		assert_memory_equal(&c, &before, sizeof(c));
	}
}

static void test_config_given_pci_addresses_accepts_them(void **state)
{
	const struct option *o = option_find("port", "device");
	struct config c;

	(void)state;
	config_default(&c);
	assert_int_equal(option_parse(o, &c, "0000:03:00.0"), 0);
	assert_int_equal(option_parse(o, &c, "03:00.1"), 0);
	assert_int_equal(option_parse(o, &c, "0000:03:00.0x"), -EINVAL);
}

static void test_config_given_drop_ins_overrides_in_order(void **state)
{
	struct scratch *s = *state;
	struct config c;

	write_drop_in(s, "20-b.conf", "[engine]\nspin_us = 3\n[port]\nmtu = 1400\n");
	write_drop_in(s, "10-a.conf", "[engine]\nspin_us = 2\n");
	write_drop_in(s, "ignored.txt", "nonsense\n");
	assert_int_equal(load(s, &c, MINIMAL "[engine]\nspin_us = 1\n"), 0);
	assert_int_equal(c.spin_us, 3);
	assert_int_equal(c.port.mtu_bytes, 1400);
	write_drop_in(s, "10-a.conf", "\n[engine]\nspin = 2\n");
	assert_int_equal(load(s, &c, MINIMAL), 1);
	assert_non_null(strstr(s->report, "conf.d/10-a.conf:3: [engine] has no key 'spin'"));
}

static void test_config_given_contradictions_reports_them(void **state)
{
	struct scratch *s = *state;
	struct config c;

	assert_int_equal(load(s, &c, "[engine]\nspin_us = 1\n"), 2);
	assert_non_null(strstr(s->report, "[port] device is required"));
	assert_non_null(strstr(s->report, "[port] address is required"));
	assert_int_equal(load(s, &c, MINIMAL "gateway = 10.1.0.1\n"), 1);
	assert_non_null(strstr(s->report, "gateway: inside no prefix"));
	assert_int_equal(load(s, &c, MINIMAL "gateway = 10.0.0.2\n"), 1);
	assert_int_equal(load(s, &c, MINIMAL "[limits]\nsndbuf = 1M\nsndbuf_max = 64K\n"), 1);
	assert_int_equal(load(s, &c, MINIMAL "[tcp]\nephemeral_ports = 5000-5000\n"), 1);
}

static void test_config_given_no_file_reports_it(void **state)
{
	struct scratch *s = *state;
	struct config c;

	assert_int_equal(config_load(&c, "/nonexistent/mtcpd.conf", keep_line, s), 1);
	assert_string_equal(s->report, "/nonexistent/mtcpd.conf: No such file or directory\n");
}

static void test_config_given_long_and_indented_lines_reports_long_only(void **state)
{
	struct scratch *s = *state;
	struct config c;
	char text[2048];

	snprintf(text, sizeof(text), MINIMAL "  mtu = 1400\n# %0500d\ngateway = %0500d\n", 0, 0);
	assert_int_equal(load(s, &c, text), 2);
	assert_non_null(strstr(s->report, ":5: longer than"));
	assert_non_null(strstr(s->report, ":6: longer than"));
	assert_int_equal(c.port.mtu_bytes, 1400);
}

static void test_config_given_random_bytes_survives(void **state)
{
	struct scratch *s = *state;
	struct config c;
	char text[512];

	srandom(1);
	for (int round = 0; round < 500; round++) {
		size_t len = (size_t)random() % (sizeof(text) - 1);

		for (size_t i = 0; i < len; i++)
			text[i] = "[]=:;#\n\r\t port,mtu/device.0129-\xff\x01"[random() % 33];
		text[len] = '\0';
		assert_true(load(s, &c, text) > 0);
	}
}

static void test_config_port_slice_given_engines_is_disjoint_and_whole(void **state)
{
	struct config c = {.port_first = 32768, .port_last = 60999, .engine_count = 3};
	uint16_t first, last;
	uint32_t next = 32768;

	(void)state;
	for (uint32_t i = 0; i <= 3; i++) {
		config_port_slice(&c, i, &first, &last);
		assert_int_equal(first, next);
		assert_true(last >= first);
		next = last + 1u;
	}
	assert_int_equal(next, 61000);
}

static void test_example_given_table_agrees(void **state)
{
	char *want = NULL, *have;
	size_t want_len = 0;
	FILE *out = open_memstream(&want, &want_len);
	FILE *f;

	(void)state;
	config_print_options(out);
	fclose(out);
	f = fopen(SOURCE_DIR "/docs/mtcpd.conf.example", "r");
	assert_non_null(f);
	have = calloc(1, 65536);
	assert_true(fread(have, 1, 65535, f) > want_len);
	fclose(f);
	assert_non_null(strstr(have, want));
	free(have);
	free(want);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_options_given_table_all_rows_are_sound),
		TEST(test_config_given_minimal_file_has_defaults),
		TEST(test_config_given_all_types_stores_them),
		TEST(test_config_given_many_errors_reports_each_with_line),
		TEST(test_config_given_routes_reads_prefixes_and_names),
		TEST(test_config_given_bad_values_refuses_each),
		TEST(test_config_given_both_families_fills_interface),
		TEST(test_config_given_wrong_ip6_explains),
		TEST(test_config_given_pci_addresses_accepts_them),
		TEST(test_config_given_drop_ins_overrides_in_order),
		TEST(test_config_given_contradictions_reports_them),
		TEST(test_config_given_no_file_reports_it),
		TEST(test_config_given_long_and_indented_lines_reports_long_only),
		TEST(test_config_given_random_bytes_survives),
		TEST(test_config_port_slice_given_engines_is_disjoint_and_whole),
		TEST(test_example_given_table_agrees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
