#!/bin/bash
# TCP_NOTSENT_LOWAT: when poll and epoll say writable, what a write takes and SIOCOUTQNSD tells, on the
# kernel and under mtcp-run, against one peer: the same, and what tcp(7) promises.
. "$(dirname "$0")/lib.sh"
e2e_begin python3

LOWAT=$SRC/tests/e2e/lowat.py
K=e2e$$k

# The kernel's program has a veth of its own: the neighbour's is what mtcpd's has.
daemon_veth
ns_new "$K"
ip -n "$H" link add hk type veth peer name kh netns "$K"
offloads_off "$H" hk
offloads_off "$K" kh
ip -n "$H" addr add 10.77.1.1/24 dev hk
ip -n "$K" addr add 10.77.1.2/24 dev kh
ip -n "$H" link set hk up
ip -n "$K" link set kh up
spawn_kernel of_kernel python3 "$LOWAT" serve 10.77.1.1 7000
spawn_kernel of_mtcpd python3 "$LOWAT" serve $KERNEL_IP 7000
wait_until 5 sh -c "[ \$(ip netns exec $H ss -Hltn 'sport = :7000' | wc -l) = 2 ]"

in_ns "$K" timeout 60 python3 "$LOWAT" run 10.77.1.1 7000 >"$T/kernel" || fail "on the kernel"
mtcp timeout 60 python3 "$LOWAT" run $KERNEL_IP 7000 >"$T/mtcpd" || fail "on mtcpd"
diff "$T/kernel" "$T/mtcpd" >"$T/diff"
check_equal "lines that differ" 0 "$(grep -c '^[<>]' "$T/diff")"
cat "$T/diff"
check_more "lines" 19 "$(wc -l <"$T/mtcpd")"
check_equal "promises not kept" 0 "$(grep -c False "$T/mtcpd")"
check "the daemon is alive" alive
e2e_end
