#!/bin/bash
# Two engines on one port: the port's own hash says which queue a frame comes to, and the engines
# hand over what belongs to another. Opens in both directions, from ports of the program's choice
# too, on net_af_packet with two queues and on net_tap.
. "$(dirname "$0")/lib.sh"
e2e_begin ab lighttpd nginx nproc
[ "$(nproc)" -ge 2 ] || skip "needs 2 CPUs"

N=${REQUESTS:-10000}
PORT=9000

said()
{
	grep -qs "$2" "$T/$1.log"
}

# held NAME: a gauge, summed over engines.
held()
{
	ctl -j engine | jq "map(.$1) | add"
}

held_are()
{
	[ "$(held "$1")" = "$2" ]
}

# least NAME: of the two engines, the smaller gauge.
least()
{
	ctl -j engine | jq "map(.$1) | min"
}

live_sessions()
{
	ctl -j client | jq '[.[] | select(has("pid") and .state == "live")] | length'
}

sessions_are()
{
	[ "$(live_sessions)" = "$1" ]
}

mbufs_missing()
{
	ctl -j port | jq 'map(.mbufs_total - .mbufs_free - .mbufs_ring) | add'
}

all_mbufs_back()
{
	[ "$(mbufs_missing)" = 0 ]
}

# requests WHAT COMMAND...: ab, with 0 failed.
requests()
{
	local what=$1

	shift
	"$@" >"$T/ab.out" 2>&1 || tail -n 5 "$T/ab.out"
	check_equal "$what, complete" "$N" \
		"$(sed -n 's/^Complete requests: *//p' "$T/ab.out")"
	check_equal "$what, failed; $(sed -n 's/^Requests per second: *\([0-9.]*\).*/\1/p' \
		"$T/ab.out")/s" 0 "$(sed -n 's/^Failed requests: *//p' "$T/ab.out")"
}

# echo_client WHAT COMMAND...: mtcp-echo's client; none failed.
echo_client()
{
	local what=$1

	shift
	"$@" -j >"$T/echo.out"
	check_equal "$what: $(jq -r '"\(.messages) messages, p99 \(.p99_us) us"' "$T/echo.out"), failed" \
		0 "$(jq .failed "$T/echo.out")"
}

probe_mtcp()
{
	in_ns "$M" "$BIN/e2e_probe_mtcp" $KERNEL_IP $PORT "$@"
}

# Every test on one kind of port; the daemon runs, its kernel neighbour is in $H.
run_all()
{
	local port=$1 ab=(timeout 120 ab -q -s 100 -n "$N" -c 50) name busy

	export MTCPD_SOCKET=$T/d/mtcpd.sock
	start_lighttpd
	start_nginx
	spawn_kernel "peer.$port" "$BIN/e2e_peer_kernel" $KERNEL_IP $PORT
	local peers=("$LAST")
	spawn "echo.$port" ip netns exec "$M" "$BIN/mtcp-echo" server -a $MTCPD_IP -t 2
	local server=$LAST
	spawn_kernel "kecho.$port" "$BIN/e2e_echo_kernel" server -a $KERNEL_IP -t 2
	peers+=("$LAST")
	wait_until 5 said "peer.$port" serving
	wait_until 5 said "echo.$port" serving
	wait_until 5 said "kecho.$port" serving

	requests "$port: ab -> lighttpd on mtcpd, closed" kernel "${ab[@]}" http://$MTCPD_IP/64
	requests "$port: ab -> lighttpd on mtcpd, kept" kernel "${ab[@]}" -k http://$MTCPD_IP/64
	requests "$port: ab on mtcpd -> nginx, closed" mtcp "${ab[@]}" http://$KERNEL_IP/64
	requests "$port: ab on mtcpd -> nginx, kept" mtcp "${ab[@]}" -k http://$KERNEL_IP/64
	echo_client "$port: kernel -> mtcp-echo" timeout 60 ip netns exec "$H" \
		"$BIN/e2e_echo_kernel" client -a $MTCPD_IP -t 2 -c 200 -m 50 -s 5000
	echo_client "$port: mtcp-echo -> kernel" timeout 60 ip netns exec "$M" \
		"$BIN/mtcp-echo" client -a $KERNEL_IP -t 2 -c 200 -m 50 -s 5000
	for name in bound_port two_threads many_threads listening half_close linger_zero; do
		check "$port: native -> kernel: $name" probe_mtcp $name
	done
	check_more "$port: frames handed over" 1 "$(counter engine.handed_over)"
	echo "frames that could not be handed over: $(counter engine.handover_full)"
	check_more "$port: busy turns of the idler engine" 1 "$(least busy_turns)"

	# -- kill -9 in the middle ---------------------------------------------------------------
	spawn_kernel "load.$port" "$BIN/e2e_echo_kernel" client -a $MTCPD_IP -c 100 -m 1000000
	spawn "client.$port" ip netns exec "$M" "$BIN/mtcp-echo" client -a $KERNEL_IP \
		-t 2 -c 100 -m 1000000
	local client=$LAST
	busy()
	{
		[ "$(live_flows)" -ge 200 ]
	}
	check "$port: 100 connections each way are busy" wait_until 10 busy
	check_more "$port: connections of the idler engine" 10 "$(least conns)"
	kill -9 "$server" "$client" "$LIGHTTPD"
	check "$port: all sessions are gone" wait_until 5 sessions_are 0
	check_equal "$port: flows left" 0 "$(wait_until 10 no_flows; live_flows)"
	check_equal "$port: orphans left" 0 "$(wait_until 5 held_are orphans 0; held orphans)"
	check_equal "$port: chunks held" 0 "$(held chunks_used)"
	check_equal "$port: sockets left" 0 "$(held sockets)"
	check_equal "$port: listeners left" 0 "$(held listeners)"
	check_equal "$port: mbufs missing" 0 "$(wait_until 5 all_mbufs_back; mbufs_missing)"
	check_equal "$port: sessions condemned" 0 "$(counter ctl.sessions_condemned)"
	ctl engine
	stop "$DAEMON_PID"
	check_equal "$port: the daemon's exit status" 0 "$STATUS"
	stop "$NGINX"
	stop "${peers[0]}"
	stop "${peers[1]}"
}

TWO=("[engine]" "cores = 0,1" "[limits]" "orphan_timeout_s = 3")

net_veth
daemon_conf d net_af_packet0,iface=vm,qpairs=2 $MTCPD_IP/24 "gateway = $KERNEL_IP" "${TWO[@]}"
daemon_start d
DAEMON_PID=$LAST
run_all af_packet

# The kernel's end of a tap is in the daemon's namespace.
ip -n "$H" link del vh
# Other ports than the first daemon's, which the kernel still has in TIME-WAIT: the new daemon's
# sequence numbers know nothing of those, so that one connect in two would take a second.
daemon_conf d net_tap0,iface=tt$$ $MTCPD_IP/24 "gateway = $KERNEL_IP" "${TWO[@]}" \
	"[tcp]" "ephemeral_ports = 2000-19999"
daemon_start d "$H"
DAEMON_PID=$LAST
ip -n "$H" addr add $KERNEL_IP/24 dev tt$$
ip -n "$H" link set tt$$ up
run_all tap
e2e_end
