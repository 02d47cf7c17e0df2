#!/bin/bash
# Fragments: pings that are longer than a frame, TCP through a router whose next link is narrower
# than either end believes, and fragments that lie.
. "$(dirname "$0")/lib.sh"
e2e_begin curl lighttpd nc ping sha256sum

KERNEL6=2001:db8:77::1
MTCPD6=2001:db8:77::2
RAW_IP=10.77.0.9
FAR_IP=10.78.0.1
ROUTER=e2e$$r
BYTES=8388608
NARROW=800

# moved COUNTER LEAST: since $BEFORE.
moved()
{
	check_more "$1" "$2" $(($(counter "$1") - BEFORE))
}

# kernel_end NAMESPACE: addresses of vh.
kernel_end()
{
	in_ns "$1" sysctl -qw net.ipv6.conf.vh.disable_ipv6=0
	ip -n "$1" addr replace $KERNEL_IP/24 dev vh
	ip -n "$1" addr add $KERNEL6/64 dev vh nodad
	ip -n "$1" link set vh up
}

# far_up: the kernel of $H behind that of $ROUTER, which cuts what goes on to mtcpd.
far_up()
{
	ip -n "$ROUTER" link add rf type veth peer name fr netns "$H" || skip "no veth here"
	offloads_off "$H" fr
	offloads_off "$ROUTER" rf
	ip -n "$ROUTER" addr add 10.78.0.254/24 dev rf
	ip -n "$ROUTER" link set rf up
	ip -n "$H" addr add $FAR_IP/24 dev fr
	ip -n "$H" link set fr up
	ip -n "$H" route add default via 10.78.0.254
	in_ns "$ROUTER" sysctl -qw net.ipv4.ip_forward=1
	ip -n "$ROUTER" route add $MTCPD_IP dev vh mtu lock $NARROW
	in_ns "$H" sysctl -qw net.ipv4.ip_no_pmtu_disc=1 # what it sends may be cut
}

# -- pings, and TCP that is cut on its way, over a TAP -------------------------------------------------

ns_new "$H"
ns_new "$ROUTER"
daemon_conf d net_tap0,iface=vh "$MTCPD_IP/24, $MTCPD6/64" "gateway = $KERNEL_IP" 'dad = no'
daemon_start d "$ROUTER"
DAEMON_PID=$LAST
kernel_end "$ROUTER"
far_up

for size in 1473 4000 65507; do
	check "ping of $size bytes" in_ns "$ROUTER" ping -q -c 2 -i 0.2 -W 10 -s $size $MTCPD_IP
	check "ping6 of $size bytes" in_ns "$ROUTER" ping -q -6 -c 2 -i 0.2 -W 10 -s $size $MTCPD6
done

M=$ROUTER
head -c $BYTES /dev/urandom >"$T/sent"
spawn_mtcp nc sh -c "exec nc -l -p 9000 >'$T/received'"
wait_until 5 listening 9000 || fail "nc listens on mtcpd"
BEFORE=$(counter net.frag_reassembled)
kernel timeout 60 nc -q 1 $MTCPD_IP 9000 <"$T/sent"
same()
{
	cmp -s "$T/sent" "$T/received"
}
check "8 MB of TCP, every segment in two fragments" wait_until 10 same
moved net.frag_reassembled $((BYTES / 1500))
check_equal "no TCP checksum was wrong" 0 "$(counter net.tcp_bad_checksum)"

# -- lies -------------------------------------------------------------------------------------------

serves_far()
{
	in_ns "$ROUTER" curl -sf -m 20 -o /dev/null "http://$MTCPD_IP/64"
}

spawn_mtcp lighttpd lighttpd -D -f "$(lighttpd_conf $MTCPD_IP)"
check "lighttpd on mtcpd serves" wait_until 5 serves_far
in_ns "$ROUTER" "$BUILD/tests/e2e/rawsend" vh $RAW_IP $MTCPD_IP 80 fragflood 200000
check "curl goes on" wait_until 5 serves_far
check_more "rests that never come: net.frag_full" 1000 "$(counter net.frag_full)"
check_more "net.frag_overlap" 1000 "$(counter net.frag_overlap)"
check_more "net.frag_tiny" 1000 "$(counter net.frag_tiny)"
check_more "net.frag_too_big" 1000 "$(counter net.frag_too_big)"
check "ping of 4000 bytes goes on" in_ns "$ROUTER" ping -q -c 2 -i 0.2 -W 10 -s 4000 $MTCPD_IP
check_less "memory of the daemon" 400000 \
	"$(awk '/^RssAnon/ { print $2 }' "/proc/$DAEMON_PID/status")" kB
check "the daemon lives" alive
stop "$DAEMON_PID"

# -- dropped, if so configured; and over a packet socket -----------------------------------------------

M=e2e$$m
ip netns del "$H"
net_veth
kernel_end "$H"
daemon_conf o net_af_packet0,iface=vm "$MTCPD_IP/24, $MTCPD6/64" 'dad = no' 'reassembly = no'
DAEMON=o
daemon_start o
DAEMON_PID=$LAST
BEFORE=$(counter net.ip6_fragment)
check "reassembly off: no answer" sh -c "! ip netns exec $H ping -q -6 -c 2 -i 0.2 -W 1 -s 4000 $MTCPD6"
moved net.ip6_fragment 6
stop "$DAEMON_PID"

daemon_conf p net_af_packet0,iface=vm "$MTCPD_IP/24, $MTCPD6/64" 'dad = no'
DAEMON=p
daemon_start p
DAEMON_PID=$LAST
check "packet socket: ping6 of 65507 bytes" kernel ping -q -6 -c 2 -i 0.2 -W 10 -s 65507 $MTCPD6
# The kernel puts IPv4 together itself before such a socket sees it, up to a slot of its ring.
check "packet socket: ping of 1600 bytes" kernel ping -q -c 2 -i 0.2 -W 10 -s 1600 $MTCPD_IP
check "the daemon lives" alive
e2e_end
