#!/bin/bash
# Clients of an unprivileged user that break the protocol, beside honest ones of another.
#
# Two honest clients run all the time, on sessions that live from the first case to the last:
# "asker" sends requests through mtcpd to a server of the kernel, "server" answers requests of a
# client of the kernel. Neither may see an error, nor a stall over twice its own p99 before the
# first case plus 1 ms. What is to be seen is what the daemon lets a client do to another, not what
# the scheduler does: the daemon, the honest ones and their peers run at real-time priority, where
# they may, and the hostile one as SCHED_IDLE. Where stalls are seen between the cases too, the
# machine being virtual or busy, twice their share is allowed; and a case is tried six times
# before stalls count. An error counts at once.
. "$(dirname "$0")/lib.sh"
. "$SRC/tools/setup.sh"
e2e_begin setpriv chrt

HONEST_UID=61001
HOSTILE_UID=61002
PERIOD_US=1000
DAEMON_HUGEPAGES=192

cleanup()
{
	local status=$?

	hugepages_remove
	(exit $status)
	e2e_cleanup
}
trap cleanup EXIT

# urgent PID: all its threads.
urgent()
{
	chrt --rr -a -p 1 "$1" 2>/dev/null || true
}

# spawn_as_honest LOG ARGUMENT...: honest_client under mtcp-run.
spawn_as_honest()
{
	local log=$1

	shift
	spawn "$log" env MTCPD_SOCKET="$T/d/mtcpd.sock" ip netns exec "$M" \
		setpriv --reuid=$HONEST_UID --regid=nogroup --clear-groups \
		"$T/prog/bin/mtcp-run" "$T/prog/honest_client" "$@"
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
	read -ra W < <(grep '^[0-9]* [0-9]* [0-9]* ' "$T/$1.log" | tail -n 1)
}

# windows: of both; begins new ones. ERRORS, STALLS and FIGURES tell of those that ended.
windows()
{
	window asker "$ASKER"
	REQUESTS=${W[0]}
	ERRORS=${W[1]}
	STALLS=${W[7]}
	FIGURES="asker p50 ${W[2]} p99 ${W[3]} max ${W[5]} of ${W[6]} us, ${W[7]} of ${W[0]} over"
	window client "$CLIENT"
	REQUESTS=$((REQUESTS + W[0]))
	ERRORS=$((ERRORS + W[1]))
	STALLS=$((STALLS + W[7]))
	FIGURES+="; server p50 ${W[2]} p99 ${W[3]} max ${W[5]} of ${W[6]} us, ${W[7]} of ${W[0]} over"
}

# quiet: ends a window in which nobody was hostile.
quiet()
{
	windows
	QUIET_REQUESTS=$((QUIET_REQUESTS + REQUESTS))
	QUIET_STALLS=$((QUIET_STALLS + STALLS))
}

# allowed: stalls in the window that has ended.
allowed()
{
	echo $(((2 * QUIET_STALLS * REQUESTS + QUIET_REQUESTS - 1) / QUIET_REQUESTS))
}

run_hostile()
{
	in_ns "$M" chrt --idle 0 timeout -k 5 60 setpriv --reuid=$HOSTILE_UID --regid=nogroup \
		--clear-groups "$T/prog/hostile_client" "$T/d/mtcpd.sock" $KERNEL_IP 7000 "$1" \
		>"$T/case.log" 2>&1
}

# ended REASON: since the case began the log told of a hostile session that ended for it.
ended()
{
	tail -n +"$((LOG_LINES + 1))" "$T/d.log" | grep -q "(uid $HOSTILE_UID) ended: $1"
}

# hostile CASE [REASON] [STALLS]: with so many stalls allowed.
hostile()
{
	local try status allowed

	for try in 1 2 3 4 5 6; do
		[ -z "${2:-}" ] || sleep 0.6 # of one kind of line the log tells two a second
		quiet
		LOG_LINES=$(wc -l <"$T/d.log")
		run_hostile "$1"
		status=$?
		[ $status -ne 0 ] || sleep 0.2
		windows
		allowed=$(($(allowed) + ${3:-0}))
		[ $status -eq 0 ] && [ "$ERRORS" = 0 ] && [ "$STALLS" -gt "$allowed" ] || break
		echo "try $try: $FIGURES"
		sleep 0.5
	done
	sed 's/^/    /' "$T/case.log"
	check_equal "$1: the daemon does what it must, exit status" 0 $status
	check_equal "$1: errors of honest clients" 0 "$ERRORS"
	check_less "$1: stalls of honest clients; $FIGURES" "$allowed" "$STALLS"
	[ -z "${2:-}" ] || check "$1: logged as \"$2\"" ended "$2"
	alive || { fail "$1: the daemon is alive"; e2e_end; }
}

gauge()
{
	ctl -j engine | jq "[.[].$1] | add"
}

# held: what must be as before at the end, TIME-WAIT aside.
held()
{
	echo "sessions $(ctl -j client | jq '[.[] | select(.state)] | length')" \
		"flows $(live_flows) sockets $(gauge sockets) chunks $(gauge chunks_used)" \
		"orphans $(gauge orphans) listeners $(gauge listeners)"
}

fds()
{
	ls "/proc/$DAEMON_PID/fd" | wc -l
}

same_as_before()
{
	[ "$(held)" = "$BEFORE" ] && [ "$(fds)" -le "$FDS_BEFORE" ] && [ "$(mbufs)" -ge "$MBUFS_BEFORE" ]
}

mbufs()
{
	ctl -j port | jq '.[0].mbufs_free'
}

session_gone()
{
	! ctl -j client | jq -e --argjson uid $HOSTILE_UID 'any(.[]; .uid == $uid)' >/dev/null
}

mkdir -p "$T/prog/bin" "$T/prog/lib"
cp "$BIN/mtcp-run" "$T/prog/bin/"
cp "$BUILD/lib/libmtcp-preload.so" "$T/prog/lib/"
cp "$BUILD/tests/e2e/honest_client" "$BUILD/tests/e2e/hostile_client" "$T/prog/"

hugepages_add $DAEMON_HUGEPAGES
daemon_veth '[limits]' 'attach_rate_per_uid = 10000'
urgent "$DAEMON_PID"
spawn_kernel echo "$T/prog/honest_client" serve $KERNEL_IP 7000
urgent "$LAST"
spawn_kernel mute "$T/prog/honest_client" mute $KERNEL_IP 7001
BEFORE=$(held)
FDS_BEFORE=$(fds)
MBUFS_BEFORE=$(mbufs)
echo "before: $BEFORE, $FDS_BEFORE descriptors, $MBUFS_BEFORE mbufs free"

spawn_as_honest server serve $MTCPD_IP 7002
SERVER=$LAST
urgent "$SERVER"
wait_until 5 listening 7002 || fail "the honest server listens"
spawn_as_honest asker ask $KERNEL_IP 7000 $PERIOD_US
ASKER=$LAST
urgent "$ASKER"
spawn_kernel client "$T/prog/honest_client" ask $MTCPD_IP 7002 $PERIOD_US
CLIENT=$LAST
urgent "$CLIENT"
QUIET_REQUESTS=1
QUIET_STALLS=0
sleep 4
quiet
echo "baseline: $FIGURES"

if [ $# -gt 0 ]; then # just these cases
	for name in "$@"; do
		hostile "$name"
	done
	e2e_end
fi

hostile operations "unknown operation or flag"
hostile references "reference or length outside the payload"
hostile positions "impossible stream position"
hostile descriptors "limit passed"
before=$(counter engine.stale_handles)
hostile handles
hostile generations
check_more "stale handles counted" 1000 $(($(counter engine.stale_handles) - before))
hostile index-ahead "consumer index out of range"
hostile index-back "consumer index out of range"
hostile index-random "consumer index out of range"
before=$(counter engine.events_delayed)
hostile deaf
check_more "delays by a full ring counted" 1 $(($(counter engine.events_delayed) - before))
hostile never-sleeps
hostile never-wakes
hostile slots
hostile bells
# Walking through 200,000 watchers with interrupts off is what the kernel lets anybody do to a CPU
# without a daemon: that is measured first, and the daemon may not make it worse.
quiet
before=$(counter engine.doorbells_handed)
run_hostile epoll-storm-alone
windows
echo "epoll-storm without a daemon: $STALLS stalls; $FIGURES"
hostile epoll-storm "" "$STALLS"
check_more "epoll-storm: rings handed over" 1 $(($(counter engine.doorbells_handed) - before))
hostile holes "hole in its segment"
if [ "$HUGEPAGES_ADDED" != 0 ]; then
	hostile holes-drained "hole in its segment"
else
	echo "SKIP holes-drained: no hugepages could be reserved, so there is no pool to drain"
fi
hostile read-only
hostile jammed
hostile closed
hostile passed-on
check "passed-on: no session of the dead" wait_until 1 session_gone
before=$(fds)
hostile messages-with-fds
check_less "messages-with-fds: the daemon's descriptors" "$before" "$(fds)"
hostile malformed "malformed control message"
hostile unread "limit passed\|does not read"
hostile requests
hostile lingerers
hostile crashes
check "no session is left" wait_until 1 session_gone

stop "$ASKER"
stop "$CLIENT"
stop "$SERVER"
wait_until 10 same_as_before
check_equal "held at the end" "$BEFORE" "$(held)"
check_less "descriptors of the daemon at the end" "$FDS_BEFORE" "$(fds)"
check_more "mbufs free at the end" "$MBUFS_BEFORE" "$(mbufs)"
stop "$DAEMON_PID"
check_equal "exit status on SIGTERM" 0 "$STATUS"
e2e_end
