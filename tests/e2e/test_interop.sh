#!/bin/bash
# With the Linux kernel over a cable that loses (badlink.c): each way, IPv4 and IPv6, at 0, 0.1, 1 and
# 5% loss, byte for byte; rate and retransmissions are told. A CI run is short. The whole:
#
#	INTEROP_BYTES=1000000000 INTEROP_KERNEL=1 tests/e2e/test_interop.sh
#
# moves 1 GB in each cell, and the same between two kernels over the same cable, for comparison.
# INTEROP_CABLE="delay_us=5000 ..." makes the cable longer, INTEROP_LOSS="0 1000" (ppm) chooses, and
# so does INTEROP_WAYS="send4 send6 receive4 receive6 bad"; several such runs may go on at once.
# INTEROP_CC="CUBIC-OR-BBR MTCPD'S" is the congestion control of the kernels, and of mtcpd.
. "$(dirname "$0")/lib.sh"
e2e_begin curl lighttpd nginx sha256sum

BYTES=${INTEROP_BYTES:-4000000}
LOSSES=${INTEROP_LOSS:-0 1000 10000 50000}
CABLE=${INTEROP_CABLE:-}
WAYS=${INTEROP_WAYS:-send4 send6 receive4 receive6 bad}
read -r KERNEL_CC MTCPD_CC <<<"${INTEROP_CC:-cubic cubic}"
SEED=${INTEROP_SEED:-7}
KERNEL6=2001:db8:77::1
MTCPD6=2001:db8:77::2

# -- the network: two veths, and the cable between them in $B -------------------------------------

# address NAMESPACE DEVICE IPV4 IPV6: the kernel's, whose routes name its congestion control: a
# namespace may not choose a restricted one as its default.
address()
{
	in_ns "$1" sysctl -qw net.ipv6.conf."$2".disable_ipv6=0
	ip -n "$1" addr add "$3/24" dev "$2" noprefixroute
	ip -n "$1" addr add "$4/64" dev "$2" nodad noprefixroute
	ip -n "$1" route add 10.77.0.0/24 dev "$2" congctl "$KERNEL_CC"
	ip -n "$1" route add 2001:db8:77::/64 dev "$2" congctl "$KERNEL_CC"
}

cable_start()
{
	# shellcheck disable=SC2086
	spawn cable ip netns exec "$B" "$BUILD/tests/e2e/badlink" bh bm seed=$SEED $CABLE "$@"
	CABLE_PID=$LAST
}

# What it lost is in $LOST; what it missed itself, on a busy machine, is told.
cable_stop()
{
	stop "$CABLE_PID"
	LOST=$(tail -n 1 "$T/cable.log" | sed 's/.*\<lost=\([0-9]*\).*/\1/')
	echo "frames that the cable missed: $(tail -n 1 "$T/cable.log" | sed 's/.*missed=//')"
}

# -- one transfer ----------------------------------------------------------------------------------

# kernel_again NAMESPACE: segments that its kernel has sent again.
kernel_again()
{
	in_ns "$1" awk '$1 == "Tcp:" && $13 ~ /[0-9]/ { print $13 }' /proc/net/snmp
}

mtcpd_again()
{
	counter tcp.retransmitted_segs
}

# transfer WHAT URL COUNT-OF-RETRANSMISSIONS RUNNER: prints a line of figures.
transfer()
{
	local what=$1 url=$2 count=$3 runner=$4 before sum

	before=$($count)
	sum=$($runner curl -sS -g -m 7200 -w '%{stderr}%{speed_download}' "$url" \
		2>"$T/speed" | sha256sum | cut -d' ' -f1)
	check_equal "$what: $(awk '{ printf "%.1f", $1 * 8e-6 }' "$T/speed") Mbit/s, \
$(($($count) - before)) sent again; SHA-256" "$SUM" "$sum"
}

again_here()
{
	kernel_again "$H"
}
again_there()
{
	kernel_again "$M"
}

# -- servers ---------------------------------------------------------------------------------------

lighttpd_both()
{
	lighttpd_conf "[::]" >/dev/null
	echo 'server.set-v6only = "disable"' >>"$T/lighttpd.conf"
	echo "$T/lighttpd.conf"
}

nginx_both()
{
	nginx_conf $KERNEL_IP >/dev/null
	sed -i "s/listen [^;]*;/listen $KERNEL_IP:80; listen [$KERNEL6]:80;/" "$T/nginx.conf"
	echo "$T/nginx.conf"
}

listens()
{
	in_ns "$1" ss -Hltn 'sport = :80' | grep -q .
}

# -- the matrix ------------------------------------------------------------------------------------

net_cable
address "$H" vh "$KERNEL_IP" "$KERNEL6"
mkdir "$T/www"
head -c "$BYTES" /dev/urandom >"$T/www/big"
SUM=$(sha256sum <"$T/www/big" | cut -d' ' -f1)

spawn_kernel nginx nginx -c "$(nginx_both)" -g 'daemon off;'
daemon_conf d net_af_packet0,iface=vm "$MTCPD_IP/24, $MTCPD6/64" \
	"gateway = $KERNEL_IP, $KERNEL6" 'dad = no' '[tcp]' "congestion_control = $MTCPD_CC"
daemon_start d
DAEMON_PID=$LAST
spawn_mtcp lighttpd lighttpd -D -f "$(lighttpd_both)"
LIGHTTPD=$LAST
check "lighttpd on mtcpd listens" wait_until 5 listening 80
check "nginx on the kernel listens" wait_until 5 listens "$H"

has_way()
{
	[[ " $WAYS " == *" $1 "* ]]
}

# way NAME WHAT URL COUNT RUNNER: that transfer, if it was asked for.
way()
{
	! has_way "$1" || transfer "${@:2}"
}

for loss in $LOSSES; do
	cable_start "loss_ppm=$loss"
	way send4 "loss $loss ppm, mtcpd sends, IPv4" http://$MTCPD_IP/big mtcpd_again kernel
	way send6 "loss $loss ppm, mtcpd sends, IPv6" "http://[$MTCPD6]/big" mtcpd_again kernel
	way receive4 "loss $loss ppm, the kernel sends, IPv4" http://$KERNEL_IP/big again_here mtcp
	way receive6 "loss $loss ppm, the kernel sends, IPv6" "http://[$KERNEL6]/big" again_here mtcp
	cable_stop
	[ "$loss" = 0 ] || check_more "loss $loss ppm: the cable lost" 1 "$LOST"
done

if has_way bad; then # whatever else a cable does, all at once
	cable_start loss_ppm=2000 burst_max=4 duplicate_ppm=5000 reorder_ppm=10000 \
		reorder_us=2000 corrupt_ppm=500
	transfer "a bad cable, mtcpd sends, IPv4" http://$MTCPD_IP/big mtcpd_again kernel
	transfer "a bad cable, the kernel sends, IPv6" "http://[$KERNEL6]/big" again_here mtcp
	cable_stop
fi

check_equal "payload dropped for want of chunks" 0 "$(counter engine.rx_chunks_empty)"
check "the daemon is alive" alive

# -- two kernels, for comparison -------------------------------------------------------------------

if [ -n "${INTEROP_KERNEL:-}" ]; then
	stop "$LIGHTTPD"
	stop "$DAEMON_PID"
	address "$M" vm "$MTCPD_IP" "$MTCPD6"
	spawn lighttpd-kernel ip netns exec "$M" lighttpd -D -f "$(lighttpd_both)"
	wait_until 5 listens "$M"
	for loss in $LOSSES; do
		cable_start "loss_ppm=$loss"
		transfer "loss $loss ppm, two kernels, IPv4" http://$MTCPD_IP/big again_there kernel
		transfer "loss $loss ppm, two kernels, IPv6" "http://[$MTCPD6]/big" again_there kernel
		cable_stop
	done
fi
e2e_end
