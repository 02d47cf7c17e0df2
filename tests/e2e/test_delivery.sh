#!/bin/bash
# The rate of delivery in TCP_INFO, and whether the program has limited it, on the kernel and under
# mtcp-run, over the same cable of 5 MB/s and 10 ms there and back (badlink.c): about the same.
. "$(dirname "$0")/lib.sh"
e2e_begin python3

DELIVERY=$SRC/tests/e2e/delivery.py
RATE=5000000

# rate WHO WHAT, limited WHO WHAT: of the transcript.
rate()
{
	awk -v what="$2" '$1 == what { print $2 }' "$T/$1"
}

limited()
{
	awk -v what="$2" '$1 == what { print $3 }' "$T/$1"
}

net_cable
ip -n "$H" addr add $KERNEL_IP/24 dev vh
spawn cable ip netns exec "$B" "$BUILD/tests/e2e/badlink" bh bm seed=7 delay_us=5000 rate_bytes_s=$RATE \
	buffer_bytes=200000
spawn_kernel peer python3 "$DELIVERY" serve $KERNEL_IP 7000
wait_until 5 sh -c "ip netns exec $H ss -Hltn 'sport = :7000' | grep -q ."
ip -n "$M" addr add $MTCPD_IP/24 dev vm
in_ns "$M" timeout 60 python3 "$DELIVERY" run $KERNEL_IP 7000 >"$T/kernel" || fail "on the kernel"
ip -n "$M" addr del $MTCPD_IP/24 dev vm
daemon_conf d net_af_packet0,iface=vm $MTCPD_IP/24
daemon_start d
DAEMON_PID=$LAST
mtcp timeout 60 python3 "$DELIVERY" run $KERNEL_IP 7000 >"$T/mtcpd" || fail "on mtcpd"

paste "$T/kernel" "$T/mtcpd"
check_equal "a new connection has none, and it is the program that limits it" "new 0 1" \
	"$(grep new "$T/mtcpd")"
for what in requests stream streamed afterwards; do
	ours=$(rate mtcpd $what) theirs=$(rate kernel $what)
	check_more "$what: three times our rate and the kernel's" "$theirs" $((3 * ours))
	check_less "$what: our rate and three times the kernel's" $((3 * theirs)) "$ours"
	check_equal "$what: limited by the program" "$(limited kernel $what)" "$(limited mtcpd $what)"
done
check_less "a stream is no faster than its cable" $((RATE * 5 / 4)) "$(rate mtcpd streamed)"
check "the daemon is alive" alive
e2e_end
