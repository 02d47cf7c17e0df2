#!/bin/bash
# kill -9 of clients in the middle of their work: everything comes back, orphans end.
. "$(dirname "$0")/lib.sh"
e2e_begin curl lighttpd nginx

sessions()
{
	ctl -j client | jq '[.[] | select(has("pid") and .state == "live")] | length'
}

sessions_are()
{
	[ "$(sessions)" = "$1" ]
}

# What engines hold: chunks of received data, sockets, flows.
held()
{
	ctl -j engine | jq "map(.$1) | add"
}

held_are()
{
	[ "$(held "$1")" = "$2" ]
}

chunks_held()
{
	[ "$(held chunks_used)" -gt 0 ]
}

mbufs_missing()
{
	ctl -j port | jq 'map(.mbufs_total - .mbufs_free - .mbufs_ring) | add'
}

all_mbufs_back()
{
	[ "$(mbufs_missing)" = 0 ]
}

# reclaim PID: kills; ms until the daemon shows its session no more.
reclaim()
{
	"$BIN/e2e_reclaim" "$T/d/mtcpctl.sock" "$1"
}

daemon_veth "[limits]" "orphan_timeout_s = 5"
mkdir "$T/www"
head -c 64M /dev/zero >"$T/www/big"
start_nginx

# -- a receiver, with chunks full of what it has not read ----------------------------------------
times=()
reclaimed=0
seen=0
for _ in 1 2 3 4 5; do
	spawn_mtcp curl curl -s -m 60 --limit-rate 10k -o /dev/null http://$KERNEL_IP/big
	wait_until 5 chunks_held && seen=$((seen + 1))
	took=$(reclaim "$LAST") && reclaimed=$((reclaimed + 1))
	times+=("$took")
done
check_equal "receivers killed, and reclaimed" 5 "$reclaimed"
check_equal "receivers killed while they held chunks" 5 "$seen"
echo "receiver killed: all reclaimed after ${times[*]} ms"
check_equal "chunks held" 0 "$(wait_until 2 held_are chunks_used 0; held chunks_used)"
check_equal "flows left" 0 "$(wait_until 2 no_flows; live_flows)"

# -- a sender, with bytes that nobody fetches: orphans, for at most 5 s --------------------------
start_lighttpd
spawn_kernel slow curl -s -m 60 --limit-rate 1k -o /dev/null http://$MTCPD_IP/big
slow=$LAST
sending()
{
	[ "$(live_flows)" = 1 ]
}
unsent()
{
	[ "$(ctl -j flow | jq 'map(.send_q) | add')" -gt 0 ]
}
check "a slow reader is being served" wait_until 5 sending
check "more than it has fetched" wait_until 5 unsent
took=$(reclaim "$LIGHTTPD")
check_equal "sender killed: all but the orphan reclaimed (status) after $took ms" 0 $?
orphaned()
{
	[ "$(held orphans)" = 1 ]
}
check "its connection with unsent bytes is an orphan" orphaned
check_equal "flows left, the orphan" 1 "$(live_flows)"
check_equal "listeners left" 0 "$(ctl -j listen | jq length)"
check "the orphan ends within orphan_timeout_s" wait_until 6 held_are orphans 0
check_equal "flows left after it" 0 "$(wait_until 2 no_flows; live_flows)"
check_more "orphans timed out" 1 "$(counter engine.orphans_timed_out)"
stop "$slow"

# -- a sender whose peer does read: the orphan delivers what was sent ----------------------------
start_lighttpd
spawn_kernel steady curl -s -m 60 --limit-rate 2M -o "$T/part" http://$MTCPD_IP/big
arrived()
{
	[ "$(stat -c %s "$T/part" 2>/dev/null || echo 0)" -ge 300000 ]
}
check "it arrives" wait_until 5 arrived
reclaim "$LIGHTTPD" >/dev/null
wait "$LAST"
check_equal "curl whose server was killed sees the end (status)" 18 "$?"
check_equal "flows left" 0 "$(wait_until 5 no_flows; live_flows)"

# -- many at once --------------------------------------------------------------------------------
start_lighttpd
pids=()
for _ in 1 2 3 4 5 6 7 8; do
	spawn_mtcp curl curl -s -m 60 --limit-rate 100k -o /dev/null http://$KERNEL_IP/big
	pids+=("$LAST")
	spawn_kernel curl curl -s -m 60 --limit-rate 1M -o /dev/null http://$MTCPD_IP/big
	pids+=("$LAST")
done
sleep 1
kill -9 "${pids[@]}" "$LIGHTTPD"
check "all sessions are gone" wait_until 5 sessions_are 0
check "all orphans end" wait_until 6 held_are orphans 0
check_equal "flows left" 0 "$(wait_until 5 no_flows; live_flows)"
check_equal "chunks held" 0 "$(held chunks_used)"
check_equal "mbufs neither free nor with the port" 0 \
	"$(wait_until 5 all_mbufs_back; mbufs_missing)"
check_equal "sessions that broke the protocol" 0 "$(counter ctl.sessions_condemned)"

start_lighttpd
check "the daemon serves on" serves http://$MTCPD_IP/64
e2e_end
