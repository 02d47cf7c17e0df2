#!/bin/bash
# TCP fast open against the kernel, at either end, over IPv4 and IPv6: the first connection gets a cookie, those after it
# carry their request in the SYN, and the answer is right each time.
. "$(dirname "$0")/lib.sh"
e2e_begin python3

cat >"$T/fastopen.py" <<'PY'
# fastopen.py serve ADDRESS PORT | ask ADDRESS PORT COUNT sendto|connect
# The answer to a request of n bytes is its length and the bytes, backwards.
import socket
import sys

TCP_FASTOPEN, TCP_FASTOPEN_CONNECT = 23, 30
role, where = sys.argv[1], (sys.argv[2], int(sys.argv[3]))
family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET


def read_all(s):
    data = b""
    while True:
        part = s.recv(65536)
        if not part:
            return data
        data += part


def serve():
    l = socket.socket(family)
    l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    l.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 16)
    l.bind(where)
    l.listen(16)
    while True:
        s, _ = l.accept()
        request = read_all(s)
        s.sendall(b"%d:" % len(request) + request[::-1])
        s.close()


def ask(i, how):
    request = bytes((i + k) % 251 for k in range(200 if i % 2 else 5000))
    s = socket.socket(family)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, b"\x05" + bytes(15))
    sent = 0
    if how == "connect":
        s.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
        s.connect(where)
    else:
        sent = s.sendto(request, socket.MSG_FASTOPEN, where)
    s.sendall(request[sent:])
    s.shutdown(socket.SHUT_WR)
    answer = read_all(s)
    s.close()
    return answer == b"%d:" % len(request) + request[::-1]


if role == "serve":
    serve()
else:
    print(sum(ask(i, sys.argv[5]) for i in range(int(sys.argv[4]))))
PY

# Of the kernel's namespace.
netstat()
{
	kernel awk -v want="$1" '$1 == "TcpExt:" {
		if (!names) { split($0, name); names = 1 } else
			for (i = 2; i <= NF; i++) if (name[i] == want) print $i
	}' /proc/net/netstat
}

kernel_listens()
{
	kernel grep -qi ":$(printf %04X "$1") 0*:0000 0A" "/proc/net/$2"
}

# Of 20 connections the first asks for a cookie; on a busy machine a SYN may be sent again, without data.
# ask_both KERNEL_ADDRESS MTCPD_ADDRESS PORT TABLE: either end asks the other, in each of the two ways.
ask_both()
{
	local active passive accepted taken

	active=$(netstat TCPFastOpenActive)
	passive=$(netstat TCPFastOpenPassive)
	accepted=$(counter tcp.fastopen_accepted)
	taken=$(counter tcp.fastopen_data_taken)
	spawn_mtcp "server$4" python3 "$T/fastopen.py" serve "$2" "$3"
	wait_until 5 listening "$3"
	check_equal "$2: kernel to mtcpd, sendto: answers" 10 \
		"$(kernel python3 "$T/fastopen.py" ask "$2" "$3" 10 sendto)"
	check_equal "$2: kernel to mtcpd, connect: answers" 10 \
		"$(kernel python3 "$T/fastopen.py" ask "$2" "$3" 10 connect)"
	check_more "SYNs of the kernel whose data mtcpd acknowledged" $((active + 10)) \
		"$(netstat TCPFastOpenActive)"
	check_more "the same, by mtcpd" $((accepted + 10)) "$(counter tcp.fastopen_accepted)"

	spawn_kernel "kernel$4" python3 "$T/fastopen.py" serve "$1" "$3"
	wait_until 5 kernel_listens "$3" "$4"
	check_equal "$1: mtcpd to kernel, sendto: answers" 10 \
		"$(mtcp python3 "$T/fastopen.py" ask "$1" "$3" 10 sendto)"
	check_equal "$1: mtcpd to kernel, connect: answers" 10 \
		"$(mtcp python3 "$T/fastopen.py" ask "$1" "$3" 10 connect)"
	check_more "SYNs of mtcpd whose data the kernel acknowledged" $((passive + 10)) \
		"$(netstat TCPFastOpenPassive)"
	check_more "the same, by mtcpd" $((taken + 10)) "$(counter tcp.fastopen_data_taken)"
}

net_veth
in_ns "$H" sysctl -qw net.ipv6.conf.vh.disable_ipv6=0
ip -n "$H" addr add 2001:db8:77::1/64 dev vh nodad
daemon_conf d net_af_packet0,iface=vm "$MTCPD_IP/24, 2001:db8:77::2/64" "gateway = $KERNEL_IP" \
	'dad = no' '[tcp]' 'fast_open = on'
daemon_start d
DAEMON_PID=$LAST
kernel sysctl -qw net.ipv4.tcp_fastopen=3
ask_both $KERNEL_IP $MTCPD_IP 8000 tcp
ask_both 2001:db8:77::1 2001:db8:77::2 8001 tcp6
e2e_end
