#!/bin/bash
# 100,000 established flows between two daemons joined by net_memif, native programs on both
# ends: every one of them is listed while another connection goes on being served, and when they
# are closed nothing is left but TIME-WAIT.
. "$(dirname "$0")/lib.sh"
e2e_begin

FLOWS=${FLOWS:-100000}
PORTS=7001-7004
SERVER_IP=10.78.0.1

# said LOG TEXT
said()
{
	grep -qs "$2" "$T/$1.log"
}

on()
{
	DAEMON=$1 "${@:2}"
}

# kib PID FIELD...: sum of fields of /proc/PID/status.
kib()
{
	local pid=$1 field sum=0

	shift
	for field in "$@"; do
		sum=$((sum + $(sed -n "s/^$field:[[:space:]]*\([0-9]*\).*/\1/p" "/proc/$pid/status")))
	done
	echo $sum
}

# memory PID: KiB, huge pages too.
memory()
{
	kib "$1" VmRSS HugetlbPages
}

held()
{
	ctl -j engine | jq "map(.$1) | add"
}

# all_gone: no connection, established or half open, in the engine's own count either.
all_gone()
{
	no_flows && [ "$(held conns)" = 0 ] && [ "$(held half_open)" = 0 ]
}

no_time_wait()
{
	[ "$(held time_wait)" = 0 ]
}

native()
{
	MTCPD_SOCKET=$T/$1/mtcpd.sock exec "$BIN/mtcp-echo" "${@:2}"
}

# ping MESSAGES: one connection's request-response; prints mtcp-echo's report.
ping()
{
	(native client client -a $SERVER_IP -p 7000 -m "$1" -j)
}

# per_flow BEFORE AFTER: bytes.
per_flow()
{
	echo $((($2 - $1) * 1024 / FLOWS))
}

ns_new "$M"
for DAEMON in server client; do
	address=$SERVER_IP/24
	[ $DAEMON = client ] && address=10.78.0.2/24
	daemon_conf $DAEMON \
		"net_memif0,role=$DAEMON,socket=$T/memif,socket-abstract=no,rsize=11" $address \
		"[tcp]" "ephemeral_ports = 1024-65535" "msl_s = 1"
	daemon_start $DAEMON
	eval "PID_$DAEMON=$LAST"
done

for port in 7000 $PORTS; do
	spawn "echo$port" native server server -p $port
	ECHO=$LAST
	check "mtcp-echo serves port $port" wait_until 10 said "echo$port" serving
done

# -- before --------------------------------------------------------------------------------------
ping 2000 >/dev/null
before=$(ping 20000)
mem_server=$(memory "$PID_server")
mem_client=$(memory "$PID_client")
mem_echo=$(memory "$ECHO")

# -- 100,000 flows -------------------------------------------------------------------------------
spawn flows native client client -a $SERVER_IP -p $PORTS -c "$FLOWS" -m 1 --hold -j
HOLDER=$LAST
start=$(now_ms)
check "$FLOWS connections with a message on each" wait_until 20 said flows connections
echo "opened after $(($(now_ms) - start)) ms: $(cat "$T/flows.log")"
check_equal "connections that failed" 0 "$(jq .failed "$T/flows.log")"
echo "bytes for an idle connection: daemon $(per_flow "$mem_server" "$(memory "$PID_server")")" \
	"and $(per_flow "$mem_client" "$(memory "$PID_client")")," \
	"server $(per_flow "$mem_echo" "$(memory "$ECHO")")," \
	"client $(per_flow 0 "$(memory "$HOLDER")")"
check_less "chunks held by idle connections" 0 "$(on server held chunks_used)"

# -- listed, while another one is served ---------------------------------------------------------
for DAEMON in server client; do
	seen=$(ctl flow | grep -c '^ESTAB .*:700[1-4] ')
	check_equal "mtcpctl flow, $DAEMON" "$FLOWS" "$seen"
	seen=$(ctl -j flow | jq '[.[] | select(.state == "ESTAB")] | length')
	check_equal "mtcpctl -j flow, $DAEMON" "$FLOWS" "$seen"
done

ping 20000 >"$T/idle.json"
ping 60000 >"$T/during.json" &
busy=$!
PIDS+=("$busy")
lists=0
while kill -0 "$busy" 2>/dev/null; do
	seen=$(on server ctl -j flow | grep -o '"state"' | wc -l)
	[ "$seen" -ge "$FLOWS" ] && lists=$((lists + 1))
done
wait "$busy"
check_equal "the active connection's exit status" 0 $?
check_more "complete listings meanwhile" 1 "$lists"
echo "request-response p50/p99/max us: alone $(jq -c '[.p50_us, .p99_us, .max_us]' <<<"$before")," \
	"beside idle flows $(jq -c '[.p50_us, .p99_us, .max_us]' "$T/idle.json")," \
	"while listing $(jq -c '[.p50_us, .p99_us, .max_us]' "$T/during.json")"

# -- closed --------------------------------------------------------------------------------------
start=$(now_ms)
stop "$HOLDER"
check_equal "the holder's exit status" 0 "$STATUS"
for DAEMON in client server; do
	check "$DAEMON: no connection is left" wait_until 20 all_gone
done
echo "closed after $(($(now_ms) - start)) ms"
for DAEMON in server client; do
	check_equal "$DAEMON: chunks held" 0 "$(held chunks_used)"
	check_equal "$DAEMON: orphans" 0 "$(held orphans)"
	check_equal "$DAEMON: sessions condemned" 0 "$(counter ctl.sessions_condemned)"
	check "$DAEMON: TIME-WAIT ends" wait_until 10 no_time_wait
done
e2e_end
