#!/bin/bash
# One program on the kernel and under mtcp-run: what it sees of some 30 socket options with 16 values
# each, of their lengths, and of calls on connections that ended in one way or another, must be
# the same, line by line, but for what stands here.
. "$(dirname "$0")/lib.sh"
e2e_begin

# Known differences; docs/interop.md says why.
KNOWN=(
	'^connected (SO_PRIORITY|SO_DONTROUTE|IP_TOS|IP_TTL) '
	'^connected SO_RCVLOWAT (= |got|set)'
	'^connected TCP_MAXSEG (= |got|set)'
	'^listening TCP_FASTOPEN_(KEY|NO_COOKIE) '
)

SOCKOPTS=$BUILD/tests/e2e/sockopts

without_known()
{
	grep -Ev "$(IFS='|'; echo "${KNOWN[*]}")" "$1"
}

# same PART: of the program.
same()
{
	in_ns "$K" timeout 60 "$SOCKOPTS" "$1" 10.77.1.1 7000 >"$T/$1.kernel" ||
		fail "$1 on the kernel"
	mtcp timeout 60 "$SOCKOPTS" "$1" $KERNEL_IP 7000 >"$T/$1.mtcpd" || fail "$1 on mtcpd"
	check_more "$1: lines to compare" "$2" "$(without_known "$T/$1.kernel" | wc -l)"
	check_same "$1: lines that differ" <(without_known "$T/$1.kernel") \
		<(without_known "$T/$1.mtcpd")
}

daemon_veth
net_rival

spawn_kernel peer "$SOCKOPTS" serve 7000
wait_until 5 sh -c "ip netns exec $H ss -Hltn 'sport = :7000' | grep -q ."
same table 1000
check_equal "cookies are the daemon's: no program sets or gets their key" 16 \
	"$(grep -c '^listening TCP_FASTOPEN_.*: ENOPROTOOPT$' "$T/table.mtcpd")"
same ends 60
check "the daemon is alive" alive
e2e_end
