#!/bin/bash
# A TAP port: the kernel of the daemon's own namespace is its neighbour, as in tools/quickstart.
. "$(dirname "$0")/lib.sh"
e2e_begin ab curl lighttpd nginx ping sha256sum
[ -c /dev/net/tun ] || skip "no /dev/net/tun"

ns_new "$M"
H=$M # one namespace for both
daemon_conf d net_tap0,iface=tap0 $MTCPD_IP/24 "gateway = $KERNEL_IP"
daemon_start d
DAEMON_PID=$LAST
wait_until 5 in_ns "$M" ip link show tap0 >/dev/null
offloads_off "$M" tap0
ip -n "$M" addr add $KERNEL_IP/24 dev tap0
ip -n "$M" link set tap0 up

check "ping mtcpd" kernel ping -q -c 3 -i 0.05 -W 10 $MTCPD_IP >"$T/ping.log"
mkdir "$T/www"
head -c 32M /dev/urandom >"$T/www/big"
EXPECTED=$(sha256sum <"$T/www/big")
start_lighttpd
start_nginx
check_equal "kernel curl <- lighttpd on mtcpd, 32 MB" "$EXPECTED" \
	"$(kernel curl -s -m 60 http://$MTCPD_IP/big | sha256sum)"
# The kernel's address is this machine's own: --own tells that its network has it, too.
check_equal "curl on mtcpd <- the kernel's nginx, 32 MB" "$EXPECTED" \
	"$(mtcp --own curl -s -m 60 http://$KERNEL_IP/big | sha256sum)"
check_more "connections that mtcpd opened" 1 "$(counter tcp.active_opens)"
for keep in "" -k; do
	kernel timeout 60 ab -q -n 10000 -c 50 $keep http://$MTCPD_IP/64 >"$T/ab.out" 2>&1
	check_equal "kernel ab $keep -> lighttpd on mtcpd, failed of 10000" "10000 0" \
		"$(awk '/^Complete requests/ { c = $3 } /^Failed requests/ { f = $3 }
			END { print c, f }' "$T/ab.out")"
done

# Queued but not drained: the tap's descriptor wakes a sleeping engine.
woken()
{
	ctl -j engine | jq 'map(.wakes_queue) | add'
}
before=$(woken)
check "pings of a sleeping engine" kernel ping -q -c 20 -i 0.05 -W 10 $MTCPD_IP
check_more "times that one woke it" 1 $(($(woken) - before))
stop "$DAEMON_PID"
check_equal "exit status" 0 "$STATUS"
check_equal "the interface is gone" "" "$(in_ns "$M" ip -o link show tap0 2>/dev/null)"
e2e_end
