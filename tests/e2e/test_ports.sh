#!/bin/bash
# Two processes and one port: what bind and listen say must be what they say on the kernel, and who
# connects must come to whom the address, or the share of it, belongs.
. "$(dirname "$0")/lib.sh"
e2e_begin python3 nc

PORTS=$SRC/tests/e2e/ports.py
OTHER_IP=10.77.0.3

# hears ADDRESS PORT TEXT
hears()
{
	[ "$(kernel nc -d -w 2 "$1" "$2")" = "$3" ]
}

net_veth
daemon_conf d net_af_packet0,iface=vm "$MTCPD_IP/24, $OTHER_IP/24" "gateway = $KERNEL_IP"
daemon_start d
DAEMON_PID=$LAST
ip -n "$H" addr add 10.77.1.1/32 dev vh
ip -n "$H" addr add 10.77.1.2/32 dev vh
ip -n "$H" link set lo up
spawn_kernel peer nc -l -k 9000

kernel timeout 60 python3 "$PORTS" table 10.77.1.1 10.77.1.2 >"$T/kernel" || fail "on the kernel"
mtcp timeout 60 python3 "$PORTS" table $MTCPD_IP $OTHER_IP >"$T/mtcpd" || fail "on mtcpd"
check_more "steps to compare" 50 "$(wc -l <"$T/kernel")"
check_same "steps that differ" "$T/kernel" "$T/mtcpd"

spawn_mtcp servers python3 "$PORTS" serve $MTCPD_IP $OTHER_IP $KERNEL_IP
check "both serve" wait_until 10 grep -q ready "$T/servers.log"
check "the first by its address" hears $MTCPD_IP 7001 first
check "the second by its own" hears $OTHER_IP 7001 second
for _ in {1..40}; do
	kernel nc -d -w 2 $MTCPD_IP 7002
	echo
done >"$T/shared"
check_equal "a shared port: answers" 40 "$(grep -cE '^(left|right)$' "$T/shared")"
check_more "of the one" 5 "$(grep -c left "$T/shared")"
check_more "of the other" 5 "$(grep -c right "$T/shared")"
check "a connection from the port of both, the one's address" \
	grep -q "^connect out $KERNEL_IP: $MTCPD_IP 7003" "$T/servers.log"
check "the other's" grep -q "^connect away $KERNEL_IP: $OTHER_IP 7003" "$T/servers.log"
check "the daemon is alive" alive
e2e_end
