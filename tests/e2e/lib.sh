# shellcheck shell=bash disable=SC2034
# What the end-to-end tests share: a network of its own for each, daemons, and judgement.
#
# Sourced by every test. A test runs as root from the build tree ($BUILD), makes its network in
# namespaces that carry its process id in their names, and keeps all files under $T. Nothing is
# left behind however it ends: the trap kills the processes that were started here, by pid, and
# removes namespaces and files. Each check prints a line "PASS what: figures" or "FAIL ...";
# the exit status is 0, 1 if any failed, or 77 if the machine cannot run the test.
#
# The usual network:
#
#   namespace $H (the kernel)                     namespace $M (the daemon)
#   10.77.0.1/24  vh <----------- veth -----------> vm  net_af_packet: mtcpd 10.77.0.2
#
# vm has no address, so the kernel of $M answers nothing. Programs under mtcp-run find the
# daemon by its socket, in whichever namespace they run; they run in $M, which has no other way
# out. The kernel's end has its offloads off: over veth it would hand over unfinished checksums
# and segments of 64 KB.

set -u -o pipefail
shopt -s nullglob

SRC=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${BUILD:-$SRC/build/release}
BIN=$BUILD/bin
KERNEL_IP=10.77.0.1
MTCPD_IP=10.77.0.2

T=
H=e2e$$h
M=e2e$$m
K=e2e$$k
B=e2e$$b
PIDS=()
NAMESPACES=()
PASSED=0
FAILED=0

# -- beginning and end ---------------------------------------------------------------------------

# e2e_begin PROGRAM...: call first; skips the test where a program or a right is missing.
e2e_begin()
{
	local program

	[ "$(id -u)" = 0 ] || skip "needs root, for network namespaces"
	for program in ip ethtool jq "$@"; do
		command -v "$program" >/dev/null || skip "$program is not installed"
	done
	[ -x "$BIN/mtcpd" ] || skip "$BIN/mtcpd is not built"
	T=$(mktemp -d /tmp/mtcpd-e2e.XXXXXX)
	chmod 755 "$T"
	trap e2e_cleanup EXIT
	trap 'exit 1' INT TERM HUP
}

skip()
{
	echo "SKIP $(basename "$0"): $*"
	exit 77
}

e2e_cleanup()
{
	local status=$? i ns log

	trap - EXIT
	for ((i = ${#PIDS[@]} - 1; i >= 0; i--)); do # clients before their daemon
		kill "${PIDS[i]}" 2>/dev/null && wait_until 1 none_alive "${PIDS[i]}" ||
			kill -9 "${PIDS[i]}" 2>/dev/null
	done
	if [ "$FAILED" -gt 0 ] || [ "$status" -ne 0 ]; then
		for log in "$T"/*.log; do
			echo "--- $(basename "$log"), the last lines:"
			tail -n 15 "$log"
		done
	fi
	for ns in "${NAMESPACES[@]}"; do
		ip netns del "$ns" 2>/dev/null
	done
	[ -n "${KEEP:-}" ] || rm -rf "$T"
	exit "$status"
}

# A process that ended but was not waited for counts as ended.
none_alive()
{
	local pid

	for pid in "$@"; do
		! grep -qs '^State:[^A-Z]*[^ZX]' "/proc/$pid/status" || return 1
	done
}

# e2e_end: call last.
e2e_end()
{
	echo "$(basename "$0"): $PASSED passed, $FAILED failed"
	[ "$FAILED" = 0 ]
	exit
}

# -- judgement -----------------------------------------------------------------------------------

pass()
{
	PASSED=$((PASSED + 1))
	echo "PASS $*"
}

fail()
{
	FAILED=$((FAILED + 1))
	echo "FAIL $*"
}

# check "what: figures" COMMAND...: passes if the command succeeds.
check()
{
	local what=$1

	shift
	if "$@"; then pass "$what"; else fail "$what ($*)"; fi
}

# check_equal WHAT EXPECTED SEEN
check_equal()
{
	if [ "$2" = "$3" ]; then pass "$1: $3"; else fail "$1: $3 instead of $2"; fi
}

# check_same WHAT FILE FILE: shows the first lines that differ.
check_same()
{
	diff "$2" "$3" >"$T/diff"
	check_equal "$1" 0 "$(grep -c '^[<>]' "$T/diff")"
	head -n 40 "$T/diff"
}

# check_less WHAT BOUND SEEN [UNIT]: numbers, decimal fractions too.
check_less()
{
	if awk -v a="$3" -v b="$2" 'BEGIN { exit !(a != "" && a + 0 <= b + 0) }'; then
		pass "$1: $3 ${4:-} (at most $2)"
	else
		fail "$1: $3 ${4:-} (at most $2)"
	fi
}

check_more()
{
	if awk -v a="$3" -v b="$2" 'BEGIN { exit !(a != "" && a + 0 >= b + 0) }'; then
		pass "$1: $3 ${4:-} (at least $2)"
	else
		fail "$1: $3 ${4:-} (at least $2)"
	fi
}

# wait_until SECONDS COMMAND...: tries every 20 ms. SECONDS are what an idle machine needs at most; one
# that does ten other things at a time gets ten times as much.
wait_until()
{
	local end=$(($(date +%s%N) + ${1%.*} * 10000000000))

	shift
	until "$@"; do
		if [ "$(date +%s%N)" -ge $end ]; then
			echo "waited in vain: $*" >&2
			return 1
		fi
		sleep 0.02
	done
}

now_ms()
{
	echo $(($(date +%s%N) / 1000000))
}

# -- processes -----------------------------------------------------------------------------------

# spawn LOG COMMAND...: in the background, its output to $T/LOG.log; the pid is in $LAST.
spawn()
{
	local log=$T/$1.log

	shift
	"$@" >>"$log" 2>&1 </dev/null &
	LAST=$!
	PIDS+=("$LAST")
}

# stop PID [SIGNAL]: ends a process started by spawn; its exit status is in $STATUS.
stop()
{
	kill -"${2:-TERM}" "$1" 2>/dev/null
	wait "$1" 2>/dev/null
	STATUS=$?
}

in_ns()
{
	local ns=$1

	shift
	ip netns exec "$ns" "$@"
}

# kernel COMMAND...: beside the kernel's end of the veth.
kernel()
{
	in_ns "$H" "$@"
}

# mtcp COMMAND...: under mtcp-run, with daemon $DAEMON.
mtcp()
{
	MTCPD_SOCKET=$T/${DAEMON:-d}/mtcpd.sock in_ns "$M" "$BIN/mtcp-run" "$@"
}

# spawn_kernel LOG COMMAND..., spawn_mtcp LOG COMMAND...: as spawn (ip and mtcp-run both end in
# exec, so that the pid is the program's).
spawn_kernel()
{
	local log=$1

	shift
	spawn "$log" ip netns exec "$H" "$@"
}

spawn_mtcp()
{
	local log=$1

	shift
	spawn "$log" env MTCPD_SOCKET="$T/${DAEMON:-d}/mtcpd.sock" \
		ip netns exec "$M" "$BIN/mtcp-run" "$@"
}

# -- network -------------------------------------------------------------------------------------

ns_new()
{
	ip netns add "$1" || skip "no network namespaces here"
	NAMESPACES+=("$1")
	ip -n "$1" link set lo up
	in_ns "$1" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
}

offloads_off()
{
	local feature

	for feature in tx rx tso gso gro tx-udp-segmentation; do
		in_ns "$1" ethtool -K "$2" $feature off >/dev/null 2>&1
	done
	return 0
}

# net_veth: the network drawn above.
net_veth()
{
	ns_new "$H"
	ns_new "$M"
	ip -n "$H" link add vh address 02:00:00:00:77:01 type veth \
		peer name vm address 02:00:00:00:77:02 netns "$M" || skip "no veth here"
	offloads_off "$H" vh
	offloads_off "$M" vm
	ip -n "$H" addr add $KERNEL_IP/24 dev vh
	ip -n "$H" link set vh up
	ip -n "$M" link set vm up
}

# net_cable: the same with two veths, whose other ends are bh and bm in namespace $B, where badlink is to
# carry frames from one to the other. vh has no address yet.
net_cable()
{
	ns_new "$H"
	ns_new "$B"
	ns_new "$M"
	ip -n "$H" link add vh address 02:00:00:00:77:01 type veth peer name bh netns "$B" ||
		skip "no veth here"
	ip -n "$M" link add vm address 02:00:00:00:77:02 type veth peer name bm netns "$B"
	for i in "$H vh" "$B bh" "$B bm" "$M vm"; do
		offloads_off "${i% *}" "${i#* }"
		ip -n "${i% *}" link set "${i#* }" up
	done
}

# net_rival: namespace $K for programs on the kernel, with a veth of its own from the neighbour
# (10.77.1.1) to it (10.77.1.2), since the other one is what mtcpd has.
net_rival()
{
	ns_new "$K"
	ip -n "$H" link add hk type veth peer name kh netns "$K"
	offloads_off "$H" hk
	offloads_off "$K" kh
	ip -n "$H" addr add 10.77.1.1/24 dev hk
	ip -n "$K" addr add 10.77.1.2/24 dev kh
	ip -n "$H" link set hk up
	ip -n "$K" link set kh up
}

# -- the daemon ----------------------------------------------------------------------------------

# daemon_conf NAME DEVICE ADDRESS [LINE...]: writes $T/NAME.conf; runtime directory $T/NAME.
# Further lines are as in the file and may open sections.
daemon_conf()
{
	local name=$1 device=$2 address=$3

	shift 3
	{
		printf '[daemon]\nruntime_dir = %s\ngroup = nogroup\n' "$T/$name"
		printf 'shutdown_timeout_s = 2\n[port]\ndevice = %s\naddress = %s\n' "$device" "$address"
		printf '%s\n' "$@"
	} >"$T/$name.conf"
}

answers()
{
	DAEMON=$1 ctl version >/dev/null 2>&1
}

# daemon_start NAME [NAMESPACE]: waits until it serves; its pid is in $LAST.
daemon_start()
{
	local name=$1 ns=${2:-$M}

	spawn "$name" ip netns exec "$ns" "$BIN/mtcpd" --config "$T/$name.conf"
	if ! wait_until 15 answers "$name" || ! kill -0 "$LAST"; then
		fail "mtcpd $name starts"
		exit 1
	fi
}

# daemon_veth [LINE...]: network and daemon "d" with further lines of configuration.
daemon_veth()
{
	net_veth
	daemon_conf d net_af_packet0,iface=vm $MTCPD_IP/24 "gateway = $KERNEL_IP" "$@"
	daemon_start d
	DAEMON_PID=$LAST
}

ctl()
{
	"$BIN/mtcpctl" --socket "$T/${DAEMON:-d}/mtcpctl.sock" "$@"
}

# counter GROUP.NAME: the sum over engines; "none" if there is no such counter.
counter()
{
	ctl -j counters | jq --arg n "$1" \
		'[.[] | select(.group + "." + .name == $n) | .value] | add // "none"'
}

# flows [FILTER...]: how many.
flows()
{
	ctl -j flow "$@" | jq length
}

# live_flows: how many are neither in TIME-WAIT nor about to be.
live_flows()
{
	ctl -j flow | jq '[.[] | select(.state | test("^time.wait$"; "i") | not)] | length'
}

no_flows()
{
	[ "$(live_flows)" = 0 ]
}

# listening PORT: on mtcpd.
listening()
{
	ctl listen | grep -q ":$1 "
}

alive()
{
	kill -0 "$DAEMON_PID" 2>/dev/null
}

# -- servers -------------------------------------------------------------------------------------

# lighttpd_conf ADDRESS: a server of $T/www on port 80; prints the file's name.
lighttpd_conf()
{
	mkdir -p "$T/www"
	head -c 64 /dev/zero | tr '\0' x >"$T/www/64"
	cat >"$T/lighttpd.conf" <<CONF
server.document-root = "$T/www"
server.bind = "$1"
server.port = 80
server.max-keep-alive-requests = 100000
server.max-connections = 2048
server.max-fds = 4096
index-file.names = ( "64" )
CONF
	echo "$T/lighttpd.conf"
}

# nginx_conf ADDRESS: the kernel's server of $T/www on port 80.
nginx_conf()
{
	mkdir -p "$T/www" "$T/nginx"
	head -c 64 /dev/zero | tr '\0' x >"$T/www/64"
	cat >"$T/nginx.conf" <<CONF
worker_processes 1;
pid $T/nginx/pid;
error_log $T/nginx.err.log;
events { worker_connections 2048; }
http {
	access_log off;
	keepalive_requests 1000000;
	client_body_temp_path $T/nginx/b; proxy_temp_path $T/nginx/p; fastcgi_temp_path $T/nginx/f;
	uwsgi_temp_path $T/nginx/u; scgi_temp_path $T/nginx/s;
	server { listen $1:80 backlog=1024; root $T/www; }
}
CONF
	echo "$T/nginx.conf"
}

# serves URL: a page comes from there to the kernel.
serves()
{
	kernel curl -sf -m 20 -o /dev/null "$1"
}

# start_lighttpd: on mtcpd; pid in $LIGHTTPD.
start_lighttpd()
{
	spawn_mtcp lighttpd lighttpd -D -f "$(lighttpd_conf $MTCPD_IP)"
	LIGHTTPD=$LAST
	wait_until 5 serves "http://$MTCPD_IP/64" || fail "lighttpd on mtcpd serves"
}

# start_nginx: on the kernel; pid in $NGINX.
start_nginx()
{
	spawn_kernel nginx nginx -c "$(nginx_conf $KERNEL_IP)" -g 'daemon off;'
	NGINX=$LAST
	wait_until 5 serves "http://$KERNEL_IP/64" || fail "nginx on the kernel serves"
}
