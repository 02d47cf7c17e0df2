#!/bin/bash
# A million SYNs and a hundred thousand ARP addresses, while somebody goes on being served.
. "$(dirname "$0")/lib.sh"
e2e_begin curl

PREFIX=8 # so that a hundred thousand addresses are on link
GATEWAY=10.77.0.254
SYNS=${SYNS:-1000000}
ARPS=${ARPS:-100000}

rawsend()
{
	kernel "$BUILD/tests/e2e/rawsend" vh "$@"
}

spawn_honest()
{
	spawn_kernel "$1" "$BUILD/tests/e2e/honest_client" "$2" $MTCPD_IP 7000 "$3"
}

lines()
{
	[ "$(wc -l <"$T/$1.log")" -ge "$2" ]
}

# window LOG PID: ends the client's window; its figures are in the array W.
window()
{
	local before

	before=$(wc -l <"$T/$1.log")
	kill -USR1 "$2"
	wait_until 30 lines "$1" $((before + 1))
	read -ra W < <(tail -n 1 "$T/$1.log")
}

# flood ADDRESS CASE COUNT
flood()
{
	local figures

	figures=$(rawsend "$1" $MTCPD_IP 7000 "$2" "$3")
	check_equal "flood: $figures; exit status" 0 $?
}

# served WHAT: the window in W saw answers and no error.
served()
{
	check_more "$1, requests; p50 ${W[2]} us, p99 ${W[3]} us, max ${W[5]} us" 1 "${W[0]}"
	check_equal "$1, errors" 0 "${W[1]}"
}

# knows ADDRESS: mtcpd has this neighbour, with the MAC of the kernel's end.
knows()
{
	ctl -j neigh | jq -e --arg a "$1" \
		'any(.[]; .address == $a and .mac == "02:00:00:00:77:01")' >/dev/null
}

off_link_serves()
{
	kernel curl -sf -m 5 --interface 192.0.2.1 -o /dev/null "http://$MTCPD_IP:80/64"
}

net_veth
ip -n "$H" addr flush dev vh
ip -n "$H" addr add $KERNEL_IP/$PREFIX dev vh
ip -n "$H" addr add $GATEWAY/$PREFIX dev vh
ip -n "$H" addr add 192.0.2.1/32 dev lo
daemon_conf d net_af_packet0,iface=vm $MTCPD_IP/$PREFIX "gateway = $GATEWAY" \
	'[limits]' 'half_open = 16384' # which even a slow machine fills
daemon_start d
DAEMON_PID=$LAST
start_lighttpd
spawn_mtcp echo "$BUILD/tests/e2e/honest_client" serve $MTCPD_IP 7000
wait_until 5 listening 7000 || fail "the echo server listens"
check "a client behind the gateway is served" off_link_serves

# -- SYN flood -----------------------------------------------------------------------------------

spawn_honest held ask 2000
HELD=$LAST
spawn_honest new open 10000
NEW=$LAST
sleep 2
window held "$HELD"
served "before, one connection"
window new "$NEW"
served "before, new connections"
cookies=$(counter tcp.cookies_sent)
frames=$(counter engine.rx_frames)
flood 10.77.0.66 synflood "$SYNS"
window held "$HELD"
served "under $SYNS SYNs, one connection"
window new "$NEW"
served "under $SYNS SYNs, new connections"
echo "frames that the daemon took: $(($(counter engine.rx_frames) - frames))"
check_more "SYN cookies sent" 1 $(($(counter tcp.cookies_sent) - cookies))
check "the daemon is alive" alive
sleep 2 # SYN|ACKs are sent again
window held "$HELD"
served "half-open entries linger, one connection"
window new "$NEW"
served "half-open entries linger, new connections"
check "curl is served while half-open entries linger" serves "http://$MTCPD_IP/64"

# -- ARP flood -----------------------------------------------------------------------------------

check "a client behind the gateway is served" off_link_serves
check "the neighbour in use is known" knows $KERNEL_IP
check "the gateway is known" knows $GATEWAY
window held "$HELD" # a new one begins
window new "$NEW"
flood 10.99.0.0 arpflood "$ARPS"
window held "$HELD"
served "under $ARPS ARP addresses, one connection"
window new "$NEW"
served "under $ARPS ARP addresses, new connections"
check "the neighbour in use is still known" knows $KERNEL_IP
check "the gateway is still known" knows $GATEWAY
check_less "neighbours in the table" 4096 "$(ctl -j neigh | jq length)"
check_more "neighbours refused" 1 "$(counter net.neigh_full)"
check "a client behind the gateway is served" off_link_serves
check "curl is served" serves "http://$MTCPD_IP/64"
check "the daemon is alive" alive
e2e_end
