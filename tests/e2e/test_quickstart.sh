#!/bin/bash
# tools/quickstart, the first of the README's two commands, twice and interrupted: it works each
# time, and leaves nothing behind.
#
# In a network namespace, so that what it finds there does not depend on this machine.
. "$(dirname "$0")/lib.sh"
e2e_begin curl lighttpd pgrep
[ "$BUILD" = "$SRC/build/release" ] || skip "it runs what is in build/release, this is $BUILD"
[ -c /dev/net/tun ] || skip "no /dev/net/tun"

# Hugepages are not here: other tests may take and give back theirs at the same time.
left()
{
	local dir pid

	ip -n "$M" -o link
	ls -A /dev/hugepages /dev/shm 2>/dev/null
	find /run -maxdepth 1 -name 'mtcpd-quickstart.*'
	for dir in /run/dpdk/mtcpd-*; do # of daemons that are no more: others may be at work
		pid=${dir#*/mtcpd-}
		[ -e "/proc/${pid%%-*}" ] || echo "$dir"
	done
}

said()
{
	grep -qs "$1" "$T/quickstart.log"
}

ns_new "$M"
before=$(left)
for time in first second; do
	in_ns "$M" timeout 120 "$SRC/tools/quickstart" --once >"$T/once.log" 2>&1
	check_equal "--once, the $time time (status)" 0 $?
	check "it shows the page" grep -q '^Hello from lighttpd on mtcpd' "$T/once.log"
	check "and the flow" grep -Eq '^ESTAB .* 10\.77\.0\.2:80 .*lighttpd' "$T/once.log"
	check_equal "left behind" "$before" "$(left)"
done

# Ctrl-C reaches every process of the terminal's foreground group: setsid makes such a group.
spawn quickstart setsid ip netns exec "$M" env --default-signal=INT "$SRC/tools/quickstart"
QUICKSTART=$LAST
check "without --once it tells how to go on" wait_until 60 said 'Ctrl-C stops everything'
DIR=$(sed -n 's/^    export MTCPD_SOCKET=\(.*\)\/run\/mtcpd.sock$/\1/p' "$T/quickstart.log")
sleep 1
check "and stays up" in_ns "$M" curl -sf -m 2 -o /dev/null http://10.77.0.2/
check_more "processes with its directory" 2 "$(pgrep -fc -- "$DIR")"
kill -INT -- "-$QUICKSTART"
wait "$QUICKSTART"
check_equal "Ctrl-C (status)" 0 $?
check_equal "processes left" "" "$(pgrep -f -- "$DIR")"
check_equal "left behind" "$before" "$(left)"
e2e_end
