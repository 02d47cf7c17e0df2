#!/bin/bash
# The native library against the kernel, in both directions: what POSIX says of sockets, the
# ends of connections, and memory that grows to its limit and comes back.
#
# Every probe is also run on the kernel's own calls, against a peer on mtcpd: what fails there
# too is a wrong expectation.
. "$(dirname "$0")/lib.sh"
e2e_begin

PORT=9000

probe_mtcp()
{
	in_ns "$M" "$BIN/e2e_probe_mtcp" $KERNEL_IP $PORT "$@"
}

probe_kernel()
{
	kernel "$BIN/e2e_probe_kernel" $MTCPD_IP $PORT "$@"
}

# The kernel's peer, from beside it.
probe_kernel_here()
{
	kernel "$BIN/e2e_probe_kernel" $KERNEL_IP $PORT "$@"
}

# said LOG TEXT
said()
{
	grep -qs "$2" "$T/$1.log"
}

# Sum over engines of what they hold.
held()
{
	ctl -j engine | jq "map(.$1) | add"
}

held_are()
{
	[ "$(held "$1")" = "$2" ]
}

mbufs_missing()
{
	ctl -j port | jq 'map(.mbufs_total - .mbufs_free - .mbufs_ring) | add'
}

all_mbufs_back()
{
	[ "$(mbufs_missing)" = 0 ]
}

# check_nothing_left WHEN: while no client is attached but the two servers.
check_nothing_left()
{
	check_equal "$1: flows left, TIME-WAIT aside" 0 "$(wait_until 5 no_flows; live_flows)"
	check_equal "$1: chunks held" 0 "$(wait_until 2 held_are chunks_used 0; held chunks_used)"
	check_equal "$1: orphans" 0 "$(held orphans)"
	check_equal "$1: mbufs missing" 0 "$(wait_until 5 all_mbufs_back; mbufs_missing)"
	check_equal "$1: sessions condemned" 0 "$(counter ctl.sessions_condemned)"
}

# What the session of process PID has: up_bytes, down_bytes...
session()
{
	ctl -j client | jq "[.[] | select(.pid == $1 and .state == \"live\") | .$2] | add // 0"
}

gone()
{
	[ "$(session "$1" up_bytes)" = 0 ]
}

# grown PID FIELD MIB
grown()
{
	[ "$(session "$1" "$2")" -ge $(($3 << 20)) ]
}

# mass NAME CONNECTIONS KIB FIELD MIB: a probe of many connections, whose memory grows to so much at
# least; up and down memory at its height in $UP and $DOWN, in MiB.
mass()
{
	local go

	mkfifo "$T/go.$1"
	: >"$T/$1.log"
	ip netns exec "$M" "$BIN/e2e_probe_mtcp" $KERNEL_IP $PORT "${@:1:3}" \
		<>"$T/go.$1" >>"$T/$1.log" 2>&1 &
	LAST=$!
	PIDS+=("$LAST")
	exec {go}<>"$T/go.$1"
	check "$1: piled up" wait_until 10 said "$1" piled
	wait_until 2 grown "$LAST" "$4" "$5"
	UP=$(($(session "$LAST" up_bytes) >> 20))
	DOWN=$(($(session "$LAST" down_bytes) >> 20))
	echo go >&"$go"
	wait "$LAST"
	check_equal "$1: $2 connections of $3 KiB each, all bytes right; exit status" 0 $?
	exec {go}>&-
	rm "$T/go.$1"
	wait_until 5 gone "$LAST"
}

daemon_veth "[tcp]" "syn_retries = 3" "rto_initial_ms = 300" "[limits]" \
	"session_up_max = 16M" "session_down_max = 16M" "orphan_timeout_s = 20"
export MTCPD_SOCKET=$T/d/mtcpd.sock
spawn_kernel peer_kernel "$BIN/e2e_peer_kernel" $KERNEL_IP $PORT
spawn peer_mtcp ip netns exec "$M" "$BIN/e2e_peer_mtcp" $MTCPD_IP $PORT
check "the peer on the kernel serves" wait_until 5 said peer_kernel serving
check "the peer on mtcpd serves" wait_until 5 said peer_mtcp serving

# -- the same expectations of both ---------------------------------------------------------------
for name in two_threads many_threads nonblocking full peek peek_all vectors timeouts epoll tcp_info \
	half_close linger_zero linger_acknowledged linger_timeout linger_nonblocking \
	linger_half_open linger_idle close_in_order close_unread reset_by_peer refused give_up \
	own_names bound_port listening wrong_state options unreachable; do
	check "native -> kernel: $name" probe_mtcp $name
	check "kernel -> native: $name" probe_kernel $name
done

# -- a host that takes SYNs and whose answers never arrive ---------------------------------------
kernel ip addr add 10.77.0.9/32 dev lo
kernel ip rule add from 10.77.0.9 blackhole
silent()
{
	in_ns "$M" "$BIN/e2e_probe_mtcp" 10.77.0.9 $PORT silent
}
check "connect to a silent host times out" silent
check_nothing_left "after the probes"

# -- killed with bytes that the peer has not taken -----------------------------------------------
for bytes in 1000 50000 200000; do
	before=$(probe_kernel_here ended)
	probe_mtcp die $bytes 2>/dev/null
	check_equal "killed by SIGKILL after $bytes bytes (status)" 137 $?
	check "the peer begins to read" probe_kernel_here open
	check "all $bytes bytes arrive, and the end" \
		probe_kernel_here recorded $bytes $((before + 1))
done
check_nothing_left "after orphans"

# -- memory that grows to its limit --------------------------------------------------------------
mass slow_readers 40 100 up_bytes 3
check_more "slow readers: receive memory grew" 3 "$UP" MiB
dropped=$(counter engine.rx_chunks_empty)
mass slow_readers 300 200 up_bytes 16
check_equal "slow readers: segments dropped that were promised room" "$dropped" \
	"$(counter engine.rx_chunks_empty)"
check_less "slow readers: receive memory within session_up_max" 16 "$UP" MiB
check_more "slow readers: receive memory at its limit" 16 "$UP" MiB
mass fast_writers 40 400 down_bytes 3
check_more "fast writers: transmit memory grew" 3 "$DOWN" MiB
mass fast_writers 200 400 down_bytes 16
check_less "fast writers: transmit memory within session_down_max" 16 "$DOWN" MiB
check_more "fast writers: transmit memory at its limit" 16 "$DOWN" MiB
check_nothing_left "after piles"

# -- mtcp-echo, each way -------------------------------------------------------------------------
echo_client()
{
	local what=$1

	shift
	"$@" -j >"$T/echo.out"
	check_equal "$what: $(jq -r '"\(.messages) messages, \(.messages_per_s)/s, p99 \(.p99_us) us"' \
		"$T/echo.out"), failed" 0 "$(jq .failed "$T/echo.out")"
}

spawn echo_mtcp ip netns exec "$M" "$BIN/mtcp-echo" server -a $MTCPD_IP -t 2
spawn_kernel echo_kernel "$BIN/e2e_echo_kernel" server -a $KERNEL_IP -t 2
wait_until 5 said echo_mtcp serving
wait_until 5 said echo_kernel serving
FROM_KERNEL=(timeout 200 ip netns exec "$H" "$BIN/e2e_echo_kernel" client -a $MTCPD_IP)
FROM_MTCP=(timeout 200 ip netns exec "$M" "$BIN/mtcp-echo" client -a $KERNEL_IP)
echo_client "kernel client -> mtcp-echo" "${FROM_KERNEL[@]}" -t 2 -c 500 -m 20 -s 300
echo_client "kernel client -> mtcp-echo, 1 MB messages" "${FROM_KERNEL[@]}" -c 8 -m 5 -s 1000000
echo_client "mtcp-echo -> kernel server" "${FROM_MTCP[@]}" -t 2 -c 500 -m 20 -s 300
echo_client "mtcp-echo -> kernel server, 1 MB messages" "${FROM_MTCP[@]}" -c 8 -m 5 -s 1000000
check_nothing_left "after echoes"
check "the daemon is alive" alive
e2e_end
