#!/bin/bash
# Programs nobody here wrote, both ends under the adapter over the fake native library:
# test_programs.sh PATH-OF-PRELOAD-LIBRARY
#
# The fake's 198.18.0.1 is 127.18.0.1 for the kernel (fake_native.c), so a client of the kernel's
# can look at what is really served where. A program that is not installed is an error: the
# packages of the tests are known.
set -u
library=$1
failed=0
total=0
dir=$(mktemp -d) || exit 1
pids=()

cleanup()
{
	local pid

	for pid in "${pids[@]}"; do
		kill "$pid" 2>/dev/null
	done
	wait
	rm -rf "$dir"
}
trap cleanup EXIT

# serve COMMAND...: in the background, killed at the end
serve()
{
	LD_PRELOAD=$library "$@" >"$dir/server.log" 2>&1 &
	pids+=($!)
}

free_port()
{
	python3 -c 'import socket
s = socket.socket()
s.bind(("127.18.0.1", 0))
print(s.getsockname()[1])'
}

# wait_port PORT: until the kernel sees someone listen on the fake's address
wait_port()
{
	local i

	for i in $(seq 1000); do
		python3 -c "import socket
socket.create_connection(('127.18.0.1', $1), 1)" 2>/dev/null && return 0
		sleep 0.05
	done
	echo "nobody listens on $1:"
	cat "$dir/server.log"
	return 1
}

matches()
{
	if [ -z "$1" ]; then
		[ ! -s "$dir/out" ]
	else
		grep -Eq -- "$1" "$dir/out"
	fi
}

# expect NAME PATTERN COMMAND...: exit status 0 within 200 s, and a line that matches; an empty
# pattern: no output at all
expect()
{
	local name=$1 pattern=$2
	shift 2
	total=$((total + 1))
	if ! LD_PRELOAD=$library timeout 200 "$@" >"$dir/out" 2>&1 || ! matches "$pattern"; then
		failed=$((failed + 1))
		echo "not ok: $name, wanted /$pattern/ in:"
		tail -n 20 "$dir/out" | sed 's/^/	/'
		tail -n 5 "$dir/server.log" | sed 's/^/	server: /'
	else
		echo "ok: $name"
	fi
}

web()
{
	local handler=$1 backend=$2 port
	port=$(free_port)
	cat >"$dir/lighttpd.conf" <<CONF
server.document-root = "$dir/www"
server.port = $port
server.bind = "198.18.0.1"
server.event-handler = "$handler"
server.network-backend = "$backend"
server.max-keep-alive-requests = 0
CONF
	serve lighttpd -D -f "$dir/lighttpd.conf"
	wait_port "$port" || { failed=$((failed + 1)); return; }
	expect "curl, $handler, $backend" "^$sum" \
		sh -c "curl -sS http://198.18.0.1:$port/big | sha256sum"
	expect "kernel's curl, $handler, $backend" "^$sum" \
		env -u LD_PRELOAD sh -c "curl -sS http://127.18.0.1:$port/big | sha256sum"
	expect "ab, $handler, $backend" '^Failed requests: +0$' \
		ab -q -n 2000 -c 20 "http://198.18.0.1:$port/small"
	expect "ab -k, $handler, $backend" '^Failed requests: +0$' \
		ab -q -k -n 5000 -c 20 "http://198.18.0.1:$port/small"
	expect "wrk, $handler, $backend" 'Requests/sec' \
		sh -c "wrk -t2 -c20 -d1s http://198.18.0.1:$port/small >'$dir/wrk' &&
			cat '$dir/wrk' && ! grep -E 'Socket errors|Non-2xx' '$dir/wrk'"
}

redis()
{
	local port threads=$1
	port=$(free_port)
	serve redis-server --port "$port" --bind 198.18.0.1 --save '' --io-threads "$threads" \
		--protected-mode no --dir "$dir"
	wait_port "$port" || { failed=$((failed + 1)); return; }
	expect "redis-cli, $threads threads" '^value$' \
		sh -c "redis-cli -h 198.18.0.1 -p $port set key value && \
			redis-cli -h 198.18.0.1 -p $port get key"
	expect "redis-benchmark, $threads threads" 'GET.*requests per second' \
		redis-benchmark -h 198.18.0.1 -p "$port" -n 5000 -q -t set,get
	expect "redis-benchmark --threads 2, $threads threads" 'GET.*requests per second' \
		redis-benchmark -h 198.18.0.1 -p "$port" -n 5000 -q -t get --threads 2
	expect "redis shutdown, $threads threads" '' \
		redis-cli -h 198.18.0.1 -p "$port" shutdown nosave
}

throughput()
{
	local port
	port=$(free_port)
	serve iperf3 -4 -s -p "$port"
	wait_port "$port" || { failed=$((failed + 1)); return; }
	sleep 0.3
	expect 'iperf3' 'receiver$' iperf3 -4 -c 198.18.0.1 -p "$port" -t 1
	expect 'iperf3 -R -P 2' 'SUM.*receiver$' iperf3 -4 -c 198.18.0.1 -p "$port" -t 1 -R -P 2
}

netcat()
{
	local port
	port=$(free_port)
	LD_PRELOAD=$library nc -4 -l 198.18.0.1 "$port" >"$dir/nc.out" 2>"$dir/server.log" </dev/null &
	pids+=($!)
	sleep 0.3
	expect 'nc' '' sh -c "echo through nc | nc -4 -N 198.18.0.1 $port"
	sleep 0.2
	total=$((total + 1))
	if ! grep -q '^through nc$' "$dir/nc.out"; then
		failed=$((failed + 1))
		echo "not ok: nc received: $(cat "$dir/nc.out")"
	fi
}

mkdir "$dir/www"
echo small >"$dir/www/small"
head -c 20000000 /dev/urandom >"$dir/www/big"
sum=$(sha256sum <"$dir/www/big" | cut -d' ' -f1)

web linux-sysepoll sendfile
web poll writev
redis 1
redis 2
throughput
netcat

echo "$((total - failed)) passed, $failed failed"
[ $failed -eq 0 ]
