#!/bin/bash
# TCP_NOTSENT_LOWAT: when poll and epoll say writable, what a write takes and SIOCOUTQNSD tells, on the
# kernel and under mtcp-run, against one peer: the same, and what tcp(7) promises.
. "$(dirname "$0")/lib.sh"
e2e_begin python3

LOWAT=$SRC/tests/e2e/lowat.py

daemon_veth
net_rival
spawn_kernel of_kernel python3 "$LOWAT" serve 10.77.1.1 7000
spawn_kernel of_mtcpd python3 "$LOWAT" serve $KERNEL_IP 7000
wait_until 5 sh -c "[ \$(ip netns exec $H ss -Hltn 'sport = :7000' | wc -l) = 2 ]"

in_ns "$K" timeout 60 python3 "$LOWAT" run 10.77.1.1 7000 >"$T/kernel" || fail "on the kernel"
mtcp timeout 60 python3 "$LOWAT" run $KERNEL_IP 7000 >"$T/mtcpd" || fail "on mtcpd"
check_same "lines that differ" "$T/kernel" "$T/mtcpd"
check_more "lines" 19 "$(wc -l <"$T/mtcpd")"
check_equal "promises not kept" 0 "$(grep -c False "$T/mtcpd")"
check "the daemon is alive" alive
e2e_end
