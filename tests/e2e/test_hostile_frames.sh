#!/bin/bash
# Frames that lie: each must be dropped under its name, and everything else must go on.
. "$(dirname "$0")/lib.sh"
e2e_begin curl lighttpd nc

RAW_IP=10.77.0.66

rawsend()
{
	kernel "$BUILD/tests/e2e/rawsend" vh $RAW_IP $MTCPD_IP "$@"
}

# lie NAME COUNTER: 8 SYNs and 8 segments with this lie move the counter by as many; the connection
# that they were sent on still answers, and so does a new one.
lie()
{
	local before after

	before=$(counter "$2")
	check "$1: its connection still answers" rawsend 80 lie "$1"
	after=$(counter "$2")
	check_more "$1: $2" 16 $((after - before))
	check "$1: curl and the daemon go on" goes_on
}

goes_on()
{
	alive && serves "http://$MTCPD_IP/64"
}

# get MSS PATH: the body is what the file holds; SEGMENT and MSS are the largest segment received
# and the MSS that mtcpd offered.
get()
{
	local bytes

	rawsend 80 get "$1" "$2" >"$T/body" 2>"$T/figures"
	read -r bytes SEGMENT MSS <"$T/figures"
	cmp -s "$T/body" "$T/www$2"
}

# overlap SEED: what nc on mtcpd reads is what arrived first.
overlap()
{
	local port=$((7000 + $1)) nc

	spawn_mtcp nc sh -c "exec nc -l $MTCPD_IP $port >'$T/read'"
	nc=$LAST
	wait_until 5 listening $port
	rawsend $port overlap "$1" 204800 >"$T/expected" || return 1
	wait_until 5 none_alive "$nc" && cmp "$T/expected" "$T/read"
}

daemon_veth
start_lighttpd
head -c 65536 /dev/urandom >"$T/www/64k"
head -c 4096 /dev/urandom >"$T/www/4k"

lie option-length-0 tcp.seg_bad_option
lie option-length-1 tcp.seg_bad_option
lie mss-option-length-0 tcp.seg_bad_option
lie option-past-header tcp.seg_bad_option
lie option-cut tcp.seg_bad_option
lie offset-0 tcp.seg_bad_offset
lie offset-4 tcp.seg_bad_offset
lie offset-past-segment tcp.seg_bad_offset
lie ip-length-above-frame net.ip4_bad_length
lie ip-length-65535 net.ip4_bad_length
lie ip-length-below-header net.ip4_bad_length
lie ip-length-inside-tcp tcp.seg_short
lie land net.ip4_own_source
check "bytes behind the IP packet are no data" rawsend 80 padded

check "MSS 0: 4 KB arrive" get 0 /4k
check_more "MSS 0: clamped, largest segment" 48 "$SEGMENT" bytes
check "MSS 1: 64 KB arrive" get 1 /64k
check_more "MSS 1: clamped, largest segment" 48 "$SEGMENT" bytes
check "MSS 9000: 64 KB arrive" get 9000 /64k
check_equal "MSS 9000: clamped, largest segment" 1460 "$SEGMENT"
check "MSS 65535: 64 KB arrive" get 65535 /64k
check_equal "MSS 65535: clamped, largest segment" 1460 "$SEGMENT"
check_equal "MSS offered" 1460 "$MSS"

before=$(counter tcp.data_overlap)
for seed in 1 2 3 4; do
	check "overlap, seed $seed: the first bytes win" overlap $seed
done
check_more "segments that overlapped" 400 $(($(counter tcp.data_overlap) - before))

check "curl and the daemon go on" goes_on
check_equal "flows left, TIME-WAIT aside" 0 "$(wait_until 5 no_flows; live_flows)"
e2e_end
