#!/bin/bash
# Two programs on one daemon that reach each other by the daemon's own address.
. "$(dirname "$0")/lib.sh"
e2e_begin ab curl lighttpd sha256sum

MTCPD6=2001:db8:77::2
BYTES=67108864

sum_of()
{
	sha256sum | cut -d' ' -f1
}

serves_own()
{
	mtcp curl -sf -m 20 -o /dev/null "http://$1/64"
}

# run_all WHAT ADDRESS: ADDRESS as in a URL.
run_all()
{
	check "$1: lighttpd answers curl" wait_until 5 serves_own "$2"
	check_equal "$1: 64 MB" "$SUM" "$(mtcp curl -sS -m 60 "http://$2/big" | sum_of)"
	check "$1: ab, 5,000 requests, 50 at a time" sh -c "MTCPD_SOCKET=$T/d/mtcpd.sock \
		ip netns exec $M $BIN/mtcp-run ab -q -n 5000 -c 50 'http://$2/64' |
		grep -q '^Failed requests: *0$'"
	check_equal "$1: a port nobody listens on is refused" 7 \
		"$(mtcp curl -sS -m 30 "http://$2:81/" 2>/dev/null; echo $?)"
}

mkdir -p "$T/www"
head -c $BYTES /dev/urandom >"$T/www/big"
SUM=$(sum_of <"$T/www/big")
lighttpd_conf "[::]" >/dev/null
echo 'server.set-v6only = "disable"' >>"$T/lighttpd.conf"
net_veth

for CORES in any 0,1; do
	daemon_conf d net_af_packet0,iface=vm "$MTCPD_IP/24, $MTCPD6/64" "gateway = $KERNEL_IP" \
		'dad = no' '[engine]' "cores = $CORES"
	daemon_start d
	DAEMON_PID=$LAST
	spawn_mtcp lighttpd lighttpd -D -f "$T/lighttpd.conf"
	LIGHTTPD=$LAST
	run_all "cores $CORES" $MTCPD_IP
	run_all "cores $CORES, IPv6" "[$MTCPD6]"
	check_equal "cores $CORES: the kernel's curl, 64 MB" "$SUM" \
		"$(kernel curl -sS -m 60 "http://$MTCPD_IP/big" | sum_of)"
	check_more "cores $CORES: segments that never left" 10000 "$(counter engine.looped)"
	check_equal "cores $CORES: dropped for want of room" 0 "$(counter engine.loop_full)"
	check "cores $CORES: the daemon lives" alive
	stop "$LIGHTTPD"
	stop "$DAEMON_PID"
done
e2e_end
