#!/bin/bash
# SIGTERM as peers of the kernel see it: the end (FIN) at once; for those who do not close their
# side, a reset when shutdown_timeout_s is over; and when all have closed, no waiting for that.
. "$(dirname "$0")/lib.sh"
e2e_begin python3 lighttpd

TIMEOUT_S=4
PATIENCE_S=60 # with a busy machine

# Holds COUNT keep-alive connections after an answer on each. Prints "open", then "eof MS" and
# "reset MS errno" of the last to see it, in ms since the file START appeared; closes at the end
# of the stream if told so.
cat >"$T/peer.py" <<'PY'
import errno, os, select, socket, sys, time

address, count, behaviour, start = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
conns = []
for _ in range(count):
    s = socket.create_connection((address, 80), timeout=60)
    s.sendall(b"GET /64 HTTP/1.1\r\nHost: x\r\n\r\n")
    seen = b""
    while not seen.endswith(b"x" * 64):
        part = s.recv(4096)
        if not part:
            sys.exit("closed before its time")
        seen += part
    conns.append(s)
print("open", flush=True)
while not os.path.exists(start):
    time.sleep(0.002)
began = time.monotonic()


def since():
    return int((time.monotonic() - began) * 1000)


for s in conns:
    s.settimeout(120)
    if s.recv(1) != b"":
        sys.exit("bytes instead of the end")
print("eof", since(), flush=True)
if behaviour == "close":
    sys.exit(0)
# After the end of the stream only a reset is an event: POLLERR, with EPIPE for whoever can
# still write (CLOSE-WAIT).
for s in conns:
    p = select.poll()
    p.register(s, 0)
    if not p.poll(120000):
        sys.exit("no reset")
    error = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
print("reset", since(), errno.errorcode.get(error, error), flush=True)
PY

said()
{
	grep -qs "^$2" "$T/$1.log"
}

# word LOG KEY: what the peer printed after it.
word()
{
	sed -n "s/^$2 \([0-9]*\).*/\1/p" "$T/$1.log"
}

# term_with NAME COUNT BEHAVIOUR: a daemon, a peer with connections, SIGTERM. The time the daemon
# took is in $TOOK_MS, its exit status in $STATUS.
term_with()
{
	local start

	daemon_start d
	DAEMON_PID=$LAST
	start_lighttpd
	rm -f "$T/go"
	spawn_kernel "$1" python3 "$T/peer.py" $MTCPD_IP "$2" "$3" "$T/go"
	PEER=$LAST
	check "$1: $2 connections are open" wait_until 10 said "$1" open
	start=$(now_ms)
	touch "$T/go"
	stop "$DAEMON_PID"
	TOOK_MS=$(($(now_ms) - start))
	check_equal "$1: exit status of the daemon" 0 "$STATUS"
	wait "$PEER"
	check_equal "$1: exit status of the peer" 0 $?
	stop "$LIGHTTPD"
}

time_out()
{
	sed -i "s/^shutdown_timeout_s.*/shutdown_timeout_s = $1/" "$T/d.conf"
}

net_veth
daemon_conf d net_af_packet0,iface=vm $MTCPD_IP/24 "gateway = $KERNEL_IP"
time_out $TIMEOUT_S
term_with stubborn 20 stay
check_more "stubborn: the reset comes long after the end, ms" $((TIMEOUT_S * 1000 / 4)) \
	$(($(word stubborn reset) - $(word stubborn eof)))
check "stubborn: it is a reset" said stubborn "reset [0-9]* EPIPE"
check_more "stubborn: the daemon waits for the time-out" $((TIMEOUT_S * 1000)) "$TOOK_MS" ms

time_out $((2 * PATIENCE_S))
term_with polite 20 close
check_less "polite: the daemon does not wait for the time-out" $((PATIENCE_S * 1000)) "$TOOK_MS" ms
check_equal "polite: resets" 0 "$(grep -c '^reset' "$T/polite.log")"
check_equal "nobody's session was condemned" 0 "$(grep -c '<4>session' "$T/d.log")"
e2e_end
