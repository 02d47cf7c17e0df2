#!/bin/bash
# Two daemons joined by net_memif: unmodified programs on both sides, no kernel between.
. "$(dirname "$0")/lib.sh"
e2e_begin ab curl lighttpd sha256sum

N=${REQUESTS:-100000}
BYTES=$((256 * 1000 * 1000))

figure()
{
	sed -n "s/^$1: *\([0-9.]*\).*/\1/p" "$T/ab.out"
}

requests()
{
	local what=$1

	shift
	mtcp "$@" >"$T/ab.out" 2>&1 || tail -n 5 "$T/ab.out"
	check_equal "$what, complete" "$N" "$(figure 'Complete requests')"
	check_equal "$what, failed; $(figure 'Requests per second') requests/s" 0 \
		"$(figure 'Failed requests')"
}

on_client()
{
	DAEMON=client "$@"
}

ns_new "$M"
daemon_conf server "net_memif0,role=server,socket=$T/memif,socket-abstract=no,rsize=11" \
	10.78.0.1/24
daemon_conf client "net_memif0,role=client,socket=$T/memif,socket-abstract=no,rsize=11" \
	10.78.0.2/24
daemon_start server
daemon_start client

mkdir "$T/www"
head -c $BYTES /dev/urandom >"$T/www/big"
DAEMON=server spawn_mtcp lighttpd lighttpd -D -f "$(lighttpd_conf 10.78.0.1)"
ready()
{
	on_client mtcp curl -sf -m 20 -o /dev/null http://10.78.0.1/64
}
check "lighttpd on one daemon answers curl on the other" wait_until 10 ready

start=$(now_ms)
seen=$(on_client mtcp curl -s -m 120 http://10.78.0.1/big | sha256sum | cut -d' ' -f1)
ms=$(($(now_ms) - start))
check_equal "256 MB in $ms ms, $((BYTES / 1000 * 8 / (ms + 1))) Mbit/s; SHA-256" \
	"$(sha256sum "$T/www/big" | cut -d' ' -f1)" "$seen"

DAEMON=client
AB=(timeout 240 ab -q -s 60 -n "$N" -c 100)
requests "ab -> lighttpd over memif, kept alive" "${AB[@]}" -k http://10.78.0.1/64
requests "ab -> lighttpd over memif, closed" "${AB[@]}" http://10.78.0.1/64
for DAEMON in client server; do
	check_equal "flows left with the $DAEMON, TIME-WAIT aside" 0 \
		"$(wait_until 5 no_flows; live_flows)"
done
e2e_end
