#!/bin/bash
# IPv6: the kernel's programs and mtcpd's to each other, addresses tried out and made, and frames
# that lie.
. "$(dirname "$0")/lib.sh"
e2e_begin curl lighttpd nginx ab ping sha256sum

KERNEL6=2001:db8:77::1
MTCPD6=2001:db8:77::2
RAW6=2001:db8:77::66
BIG_BYTES=67108864

rawsend6()
{
	kernel "$BUILD/tests/e2e/rawsend6" vh 02:00:00:00:77:02 $RAW6 $MTCPD6 "$@"
}

sum_of()
{
	sha256sum | cut -d' ' -f1
}

serves6()
{
	kernel curl -6 -sf -m 20 -o /dev/null "http://[$MTCPD6]/64"
}

has_address()
{
	ctl -j port | jq -r '.[].addresses[]' | grep -qx "$1"
}

moved()
{
	local after

	after=$(counter "$2")
	check_more "$1: $2" "$3" $((after - BEFORE))
}

# has_moved COUNTER LEAST
has_moved()
{
	[ $(($(counter "$1") - BEFORE)) -ge "$2" ]
}

net_veth
in_ns "$H" sysctl -qw net.ipv6.conf.vh.disable_ipv6=0
ip -n "$H" addr add $KERNEL6/64 dev vh nodad
daemon_conf d net_af_packet0,iface=vm "$MTCPD_IP/24, $MTCPD6/64" "gateway = $KERNEL_IP, $KERNEL6"
daemon_start d
DAEMON_PID=$LAST

# -- addresses -------------------------------------------------------------------------------------

check "an address is ours after a second" wait_until 3 has_address "$MTCPD6/64"
check_more "in which it was tried out, as was the link-local one; solicitations" 2 \
	"$(counter net.nd_solicits_sent)"
check "a link-local one is made" has_address fe80::ff:fe00:7702/64
check "ping6" kernel ping -q -6 -c 3 -i 0.2 -W 10 $MTCPD6
check "ping6 to the link-local address" kernel ping -q -6 -c 2 -i 0.2 -W 10 fe80::ff:fe00:7702%vh
check "ping6 to all nodes is answered" sh -c \
	"ip netns exec $H ping -6 -c 2 -i 0.2 -W 10 -I vh ff02::1 | grep -q 'from fe80::ff:fe00:7702'"
check "ping6 of 1400 bytes" kernel ping -q -6 -c 2 -i 0.2 -W 10 -s 1400 $MTCPD6
check "the kernel knows our MAC" sh -c \
	"ip -n $H -6 neigh show $MTCPD6 | grep -q 02:00:00:00:77:02"
check "mtcpctl neigh shows the kernel's" sh -c \
	"'$BIN/mtcpctl' --socket '$T/d/mtcpctl.sock' neigh | grep -q '^$KERNEL6 lladdr 02:00:00:00:77:01'"

# -- programs --------------------------------------------------------------------------------------

mkdir -p "$T/www"
head -c $BIG_BYTES /dev/urandom >"$T/www/big"
SUM=$(sum_of <"$T/www/big")

spawn_mtcp lighttpd lighttpd -D -f "$(lighttpd_conf "[$MTCPD6]")"
LIGHTTPD=$LAST
check "lighttpd on mtcpd serves" wait_until 5 serves6
check_equal "the kernel's curl, 64 MB" "$SUM" \
	"$(kernel curl -6 -sS -m 60 "http://[$MTCPD6]/big" | sum_of)"
check "ab, 2,000 requests" sh -c \
	"ip netns exec $H ab -q -n 2000 -c 20 'http://[$MTCPD6]/64' | grep -q '^Failed requests: *0$'"
check "mtcpctl listen shows it like ss" sh -c \
	"'$BIN/mtcpctl' --socket '$T/d/mtcpctl.sock' listen | grep -q '\\[$MTCPD6\\]:80 '"
check "no IPv4 there" sh -c "! ip netns exec $H curl -sf -m 1 http://$MTCPD_IP/64"

spawn_kernel nginx nginx -c "$(nginx_conf "[$KERNEL6]")" -g 'daemon off;'
# lo has no IPv6 there: the kernel cannot ask itself.
wait_until 5 sh -c "ip netns exec $H ss -Hltn 'sport = :80' | grep -q ."
check_equal "curl on mtcpd of the kernel's nginx, 64 MB" "$SUM" \
	"$(mtcp curl -6 -sS -m 60 "http://[$KERNEL6]/big" | sum_of)"
check "ab on mtcpd" sh -c "MTCPD_SOCKET=$T/d/mtcpd.sock ip netns exec $M $BIN/mtcp-run \
	ab -q -n 2000 -c 20 'http://[$KERNEL6]/64' | grep -q '^Failed requests: *0$'"
mtcp curl -6 -sS -m 30 -o /dev/null -w '%{local_ip} %{remote_ip}\n' "http://[$KERNEL6]/64" >"$T/ips"
check_equal "names of a connection" "$MTCPD6 $KERNEL6" "$(cat "$T/ips")"
check_equal "a port nobody listens on is refused" 7 \
	"$(mtcp curl -6 -sS -m 30 "http://[$KERNEL6]:81/" 2>/dev/null; echo $?)"

stop "$LIGHTTPD"
cat >"$T/both.conf" <<CONF
server.document-root = "$T/www"
server.bind = "[::]"
server.port = 80
server.set-v6only = "disable"
index-file.names = ( "64" )
CONF
spawn_mtcp both lighttpd -D -f "$T/both.conf"
check "one listener: over IPv6" wait_until 5 serves6
check "and over IPv4" serves "http://$MTCPD_IP/64"
stop "$LAST"
sed 's/"disable"/"enable"/' "$T/both.conf" >"$T/v6only.conf"
spawn_mtcp v6only lighttpd -D -f "$T/v6only.conf"
check "IPV6_V6ONLY: over IPv6" wait_until 5 serves6
check "and not over IPv4" sh -c "! ip netns exec $H curl -sf -m 1 http://$MTCPD_IP/64"

# -- frames that lie ---------------------------------------------------------------------------------

goes_on()
{
	alive && serves6
}

# lie NAME COUNTER COUNT
lie()
{
	BEFORE=$(counter "$2")
	rawsend6 "$1" || fail "rawsend6 $1"
	wait_until 2 has_moved "$2" "$3"
	moved "$1" "$2" "$3"
	check "$1: curl and the daemon go on" goes_on
}

lie ext-many net.ip6_many_ext 8
lie ext-past-end net.ip6_bad_ext 8
lie ext-option net.ip6_bad_option 8
lie routing-0 net.ip6_source_route 8
lie fragment net.frag_bad 8
lie jumbogram net.ip6_jumbogram 8
lie mapped net.ip6_bad_source 8
lie nd-option-0 net.nd_bad_option 8
lie nd-hop-limit net.nd_hop_limit 8
lie ra-hop-limit net.nd_hop_limit 8
lie ra net.nd_router_off 1
check "no router was believed" sh -c \
	"'$BIN/mtcpctl' --socket '$T/d/mtcpctl.sock' -j port | jq -e >/dev/null '.[0].gateway6 == \"$KERNEL6\"'"
lie nd-flood net.neigh_full 1
check "the kernel's neighbour entry is still there" sh -c \
	"'$BIN/mtcpctl' --socket '$T/d/mtcpctl.sock' neigh | grep -q '^$KERNEL6 lladdr 02:00:00:00:77:01'"
lie nd-conflict net.nd_conflict 1
check "an address in use is kept" has_address "$MTCPD6/64"

# -- routers ---------------------------------------------------------------------------------------

stop "$DAEMON_PID"
DAEMON=s
daemon_conf s net_af_packet0,iface=vm $MTCPD_IP/24 'slaac = yes' 'dad = no'
daemon_start s
DAEMON_PID=$LAST
check "no address but link-local without a router" sh -c \
	"! '$BIN/mtcpctl' --socket '$T/s/mtcpctl.sock' -j port | grep -q '2001:db8:77:'"
rawsend6 ra
check "an advertisement makes an address" wait_until 2 has_address "2001:db8:77::ff:fe00:7702/128"
check "and a router" wait_until 2 sh -c \
	"'$BIN/mtcpctl' --socket '$T/s/mtcpctl.sock' -j port | jq -e >/dev/null '.[0].gateway6 == \"fe80::66\"'"
check "ping6 to the made address" kernel ping -q -6 -c 2 -i 0.2 -W 10 2001:db8:77::ff:fe00:7702
check_equal "curl on mtcpd from it" 2001:db8:77::ff:fe00:7702 \
	"$(mtcp curl -6 -sS -m 30 -o /dev/null -w '%{local_ip}' "http://[$KERNEL6]/64")"
check "the daemon lives" alive
e2e_end
