#!/bin/bash
# Congestion control by route: of either end's connections, and behind what a socket says itself.
. "$(dirname "$0")/lib.sh"
e2e_begin nc python3

OTHER_IP=10.77.1.1
BEYOND_IP=10.99.0.1

# in_use ADDRESS NAME: the connection with that peer has that congestion control.
in_use()
{
	[ "$(ctl -j flow | jq -r --arg a "$1" '[.[] | select(.remote == $a)][0].cc')" = "$2" ]
}

# holds WHAT ADDRESS NAME PROGRAM...: a program on mtcpd that connects there has that one.
holds()
{
	local what=$1 address=$2 name=$3

	shift 3
	spawn_mtcp client "$@"
	check "$what: $name" wait_until 5 in_use "$address" "$name"
	stop "$LAST"
	wait_until 5 no_flows
}

# With TCP_CONGESTION.
CHOOSES='
import socket, sys, time
s = socket.socket()
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, sys.argv[2].encode())
s.connect((sys.argv[1], 9000))
time.sleep(60)
'

# What getsockopt(TCP_CONGESTION) says of a connection.
NAMES='
import socket, sys
s = socket.socket()
s.connect((sys.argv[1], 9000))
print(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode())
'

daemon_veth '[route]' 'congestion_control = 10.77.0.0/24 newreno, 10.0.0.0/8 dctcp, 10.77.1.0/24 bbr'
ip -n "$H" addr add $OTHER_IP/32 dev vh
ip -n "$H" addr add $BEYOND_IP/32 dev vh
ip -n "$H" addr add 192.0.2.1/32 dev vh
spawn_kernel server nc -l -k 9000

holds "a prefix" $KERNEL_IP newreno nc -d $KERNEL_IP 9000
holds "a longer one of two" $OTHER_IP bbr nc -d $OTHER_IP 9000
holds "a shorter one" $BEYOND_IP dctcp nc -d $BEYOND_IP 9000
holds "none: the default" 192.0.2.1 cubic nc -d 192.0.2.1 9000
holds "the socket's own" $KERNEL_IP bbr python3 -c "$CHOOSES" $KERNEL_IP bbr

check_equal "getsockopt names the route's" "bbr" "$(mtcp python3 -c "$NAMES" $OTHER_IP)"
check_equal "getsockopt names the default" "cubic" "$(mtcp python3 -c "$NAMES" 192.0.2.1)"

spawn_mtcp server2 nc -l -p 9000
wait_until 5 listening 9000
spawn_kernel client2 nc -d $MTCPD_IP 9000
check "a connection that came: newreno" wait_until 5 in_use $KERNEL_IP newreno
check "the daemon lives" alive
e2e_end
