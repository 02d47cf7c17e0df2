#!/bin/bash
# VLANs: a daemon in one and the kernel's VLAN interface, two daemons over vhost with tags in
# segments that are not cut, and frames of other VLANs.
. "$(dirname "$0")/lib.sh"
e2e_begin ab curl lighttpd nginx ping python3 sha256sum

VLAN=5
KERNEL6=2001:db8:77::1
MTCPD6=2001:db8:77::2
BIG_BYTES=16777216
US=020000007702
PEER=020000007701

sum_of()
{
	sha256sum | cut -d' ' -f1
}

# vlan_up: vv, the kernel's interface in the VLAN of vh, by 8021q or by what stands in for it.
vlan_up()
{
	if ! ip -n "$H" link add link vh name vv type vlan id $VLAN 2>/dev/null; then
		echo "no 8021q here: a packet socket and a TAP instead"
		spawn_kernel peer python3 "$SRC/tests/e2e/vlan_peer.py" join vh $VLAN vv
		wait_until 5 ip -n "$H" link show vv >/dev/null 2>&1 || skip "no TAP here"
	fi
	offloads_off "$H" vv
	in_ns "$H" sysctl -qw net.ipv6.conf.vv.disable_ipv6=0
	ip -n "$H" link set vv up
	ip -n "$H" addr add $KERNEL_IP/24 dev vv
	ip -n "$H" addr add $KERNEL6/64 dev vv nodad
}

net_veth
ip -n "$H" addr flush dev vh
vlan_up
daemon_conf d net_af_packet0,iface=vm "$MTCPD_IP/24, $MTCPD6/64" "vlan = $VLAN" 'dad = no'
daemon_start d
DAEMON_PID=$LAST

# -- in the VLAN -----------------------------------------------------------------------------------

check_equal "mtcpctl port shows it" $VLAN "$(ctl -j port | jq '.[0].vlan')"
check "ping" kernel ping -q -c 3 -i 0.2 -W 10 $MTCPD_IP
check "ping of a full frame" kernel ping -q -c 2 -i 0.2 -W 10 -M do -s 1472 $MTCPD_IP
check "ping6" kernel ping -q -6 -c 3 -i 0.2 -W 10 $MTCPD6

mkdir -p "$T/www"
head -c $BIG_BYTES /dev/urandom >"$T/www/big"
SUM=$(sum_of <"$T/www/big")
start_lighttpd
check_equal "the kernel's curl, 16 MB" "$SUM" \
	"$(kernel curl -sS -m 60 "http://$MTCPD_IP/big" | sum_of)"
check "the kernel's ab, 1,000 requests" sh -c \
	"ip netns exec $H ab -q -n 1000 -c 10 'http://$MTCPD_IP/64' | grep -q '^Failed requests: *0$'"
start_nginx
check_equal "curl on mtcpd, 16 MB" "$SUM" "$(mtcp curl -sS -m 60 "http://$KERNEL_IP/big" | sum_of)"
check_equal "nothing of ours was dropped" 0 "$(counter net.eth_vlan)"

# -- others ----------------------------------------------------------------------------------------

# An ARP request of somebody else for our address, behind a tag or what else is given.
ARP=080600010800060400010200000077010a4d00630000000000000a4d0002
send()
{
	kernel python3 "$SRC/tests/e2e/vlan_peer.py" send vh "$US$PEER$1$ARP$(printf '00%.0s' {1..18})"
}

# The kernel knows mtcpd's MAC, and does not ask for it itself meanwhile.
ip -n "$H" neigh replace $MTCPD_IP lladdr 02:00:00:00:77:02 dev vv nud permanent

# drops WHAT TAGS COUNTER: once each.
drops()
{
	local before replies

	before=$(counter "$3")
	replies=$(counter net.arp_replies_sent)
	send "$2"
	check "$1: $3" wait_until 2 counted "$3" "$before"
	check_equal "$1: no answer" "$replies" "$(counter net.arp_replies_sent)"
}

counted()
{
	[ "$(counter "$1")" -gt "$2" ]
}

BEFORE=$(counter net.arp_replies_sent)
send 81000005
check "a request in our VLAN is answered" wait_until 2 counted net.arp_replies_sent "$BEFORE"
BEFORE=$(counter net.arp_replies_sent)
send 8100f005
check "of whatever priority" wait_until 2 counted net.arp_replies_sent "$BEFORE"
drops "another VLAN" 81000006 net.eth_vlan
drops "no tag" "" net.eth_untagged
drops "priority alone" 8100e000 net.eth_untagged
drops "two tags" 8100000581000005 net.eth_vlan_double
drops "priority, then ours" 8100000081000005 net.eth_vlan_double
check "curl goes on" serves "http://$MTCPD_IP/64"
check "the daemon lives" alive
stop "$LIGHTTPD"
stop "$DAEMON_PID"

daemon_conf n net_af_packet0,iface=vm $MTCPD_IP/24
DAEMON=n
daemon_start n
DAEMON_PID=$LAST
drops "our VLAN, to a daemon in none" 81000005 net.eth_vlan
BEFORE=$(counter net.arp_replies_sent)
send 8100e000
check "priority alone is no VLAN" wait_until 2 counted net.arp_replies_sent "$BEFORE"
check "the daemon lives" alive
stop "$DAEMON_PID"

# -- two daemons, segments that are not cut ----------------------------------------------------------

daemon_conf s "net_vhost0,iface=$T/vhost" 10.78.0.1/24 "vlan = $VLAN"
daemon_conf c "net_virtio_user0,path=$T/vhost,queue_size=1024" 10.78.0.2/24 "vlan = $VLAN"
daemon_start s
daemon_start c
DAEMON=s spawn_mtcp lighttpd2 lighttpd -D -f "$(lighttpd_conf 10.78.0.1)"

over_vhost()
{
	DAEMON=c mtcp curl -sf -m 60 "http://10.78.0.1/$1"
}

check "curl on virtio-user of lighttpd on vhost" wait_until 10 over_vhost 64
check_equal "16 MB" "$SUM" "$(over_vhost big | sum_of)"
check_more "segments left whole" 1 "$(DAEMON=s ctl -j port | jq '.[0].tx_tso')"
e2e_end
