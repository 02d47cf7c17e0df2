#!/bin/bash
# Unmodified programs under mtcp-run against their like on the kernel, both ways round.
. "$(dirname "$0")/lib.sh"
e2e_begin curl lighttpd nginx ab wrk redis-server redis-cli redis-benchmark iperf3 nc sha256sum

BIG_BYTES=20000000

# try WHAT PATTERN COMMAND...: ends with status 0 within 60 s and prints a line that matches.
try()
{
	local what=$1 pattern=$2

	shift 2
	if timeout 60 "$@" 2>&1 | tr '\r' '\n' >"$T/out" && grep -Eq -- "$pattern" "$T/out"; then
		pass "$what: $(grep -E -m1 -- "$pattern" "$T/out")"
	else
		fail "$what: wanted /$pattern/"
		tail -n 12 "$T/out" | sed 's/^/	/'
	fi
}

# Under mtcp-run and on the kernel, as try() can run them.
M_RUN="env MTCPD_SOCKET=$T/d/mtcpd.sock ip netns exec $M $BIN/mtcp-run"
K_RUN="ip netns exec $H"

listens()
{
	ctl listen | grep -q ":$1 "
}

no_listener()
{
	! ctl listen | grep -q LISTEN
}

kernel_listens()
{
	kernel ss -Hltn "sport = :$1" | grep -q .
}

web_clients()
{
	local who=$1 run=$2 url=$3

	try "curl $who, 20 MB" "^$SUM" sh -c "$run curl -sS -m 50 $url/big | sha256sum"
	try "curl $who, 404" '^404$' $run curl -s -o /dev/null -w '%{http_code}\n' "$url/none"
	try "ab $who" '^Failed requests: +0$' $run ab -q -n 3000 -c 50 "$url/64"
	try "ab -k $who" '^Failed requests: +0$' $run ab -q -k -n 10000 -c 50 "$url/64"
	try "wrk $who" '^Requests/sec: +[1-9]' sh -c "$run wrk -t2 -c50 -d2s --timeout 30s $url/64 >$T/wrk &&
		cat $T/wrk && ! grep -E 'Socket errors|Non-2xx' $T/wrk"
}

redis_clients()
{
	local who=$1 run=$2 ip=$3

	try "redis-cli $who" '^value$' sh -c "$run redis-cli -h $ip set key value &&
		$run redis-cli -h $ip get key"
	try "redis-benchmark $who" 'GET: .*requests per second' \
		$run redis-benchmark -h "$ip" -n 10000 -q -t set,get
	try "redis-benchmark --threads 2 $who" 'GET: .*requests per second' \
		$run redis-benchmark -h "$ip" -n 10000 -q -t get --threads 2
	try "redis-benchmark -P 16 -d 4096 $who" 'SET: .*requests per second' \
		$run redis-benchmark -h "$ip" -n 10000 -q -t set -P 16 -d 4096
}

daemon_veth
mkdir -p "$T/www"
head -c $BIG_BYTES /dev/urandom >"$T/www/big"
SUM=$(sha256sum <"$T/www/big" | cut -d' ' -f1)

start_lighttpd
web_clients "of lighttpd on mtcpd" "$K_RUN" "http://$MTCPD_IP"
stop "$LIGHTTPD"

# It listens, forks, and its parent exits: the child listens anew.
echo "server.pid-file = \"$T/lighttpd.pid\"" >>"$T/lighttpd.conf"
mtcp lighttpd -f "$T/lighttpd.conf" >>"$T/lighttpd.log" 2>&1
wait_until 5 test -s "$T/lighttpd.pid" && PIDS+=("$(cat "$T/lighttpd.pid")")
check "lighttpd that becomes a daemon serves" wait_until 5 serves "http://$MTCPD_IP/64"
kill "$(cat "$T/lighttpd.pid")"
check "its listener goes with it" wait_until 5 no_listener

start_nginx
web_clients "on mtcpd of nginx" "$M_RUN" "http://$KERNEL_IP"
stop "$NGINX"

spawn_mtcp redis redis-server --bind $MTCPD_IP --save '' --protected-mode no --dir "$T"
REDIS=$LAST
wait_until 5 kernel redis-cli -h $MTCPD_IP ping >/dev/null 2>&1
redis_clients "of redis-server on mtcpd" "$K_RUN" $MTCPD_IP
try "redis INFO sees its clients" '^connected_clients:' $K_RUN redis-cli -h $MTCPD_IP info clients
stop "$REDIS"
spawn_kernel redis-kernel redis-server --bind $KERNEL_IP --save '' --protected-mode no --dir "$T"
wait_until 5 kernel redis-cli -h $KERNEL_IP ping >/dev/null 2>&1
redis_clients "on mtcpd of redis-server" "$M_RUN" $KERNEL_IP

spawn_mtcp iperf3 iperf3 -4 -s
wait_until 5 listens 5201
try "iperf3 into mtcpd" 'receiver$' $K_RUN iperf3 -4 -c $MTCPD_IP -t 1
try "iperf3 -R out of mtcpd" 'receiver$' $K_RUN iperf3 -4 -c $MTCPD_IP -t 1 -R
try "iperf3 -P 4" 'SUM.*receiver$' $K_RUN iperf3 -4 -c $MTCPD_IP -t 1 -P 4
spawn_kernel iperf3-kernel iperf3 -4 -s
wait_until 5 kernel_listens 5201
try "iperf3 from mtcpd" 'receiver$' $M_RUN iperf3 -4 -c $KERNEL_IP -t 1
try "iperf3 -R to mtcpd" 'receiver$' $M_RUN iperf3 -4 -c $KERNEL_IP -t 1 -R

spawn_mtcp nc nc -4 -l 7777
wait_until 5 listens 7777
check "nc to mtcpd" sh -c "echo to mtcpd | $K_RUN nc -N -w 50 $MTCPD_IP 7777"
check "nc on mtcpd received it" wait_until 5 grep -qx 'to mtcpd' "$T/nc.log"
spawn_kernel nc-kernel nc -4 -l 7778
wait_until 5 kernel_listens 7778
check "nc from mtcpd" sh -c "echo from mtcpd | $M_RUN nc -N -w 50 $KERNEL_IP 7778"
check "nc on the kernel received it" wait_until 5 grep -qx 'from mtcpd' "$T/nc-kernel.log"

check_equal "loopback stays the kernel's" 7 "$($M_RUN curl -s http://127.0.0.1:1/; echo $?)"
check "the daemon lives" alive

spawn_kernel nc-wait nc -4 -l 7779
wait_until 5 kernel_listens 7779
spawn_mtcp nc-client nc -4 $KERNEL_IP 7779
sleep 0.5
check "a client waits" kill -0 "$LAST"
kill -9 "$DAEMON_PID"
check "a client whose daemon was killed ends" wait_until 5 none_alive "$LAST"
check_equal "without a daemon mtcp-run refuses" 69 "$($M_RUN -s "$T/none.sock" true 2>/dev/null; echo $?)"
e2e_end
