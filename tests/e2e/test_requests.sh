#!/bin/bash
# 100,000 requests on 100 connections, kept alive and not, with mtcpd as server and as client.
. "$(dirname "$0")/lib.sh"
e2e_begin ab curl lighttpd nginx

N=${REQUESTS:-100000}

figure()
{
	sed -n "s/^$1: *\([0-9.]*\).*/\1/p" "$T/ab.out"
}

# requests WHAT COMMAND... URL: all complete, none failed.
requests()
{
	local what=$1

	shift
	"$@" >"$T/ab.out" 2>&1 || tail -n 5 "$T/ab.out"
	check_equal "$what, complete" "$N" "$(figure 'Complete requests')"
	check_equal "$what, failed; $(figure 'Requests per second') requests/s" 0 \
		"$(figure 'Failed requests')"
}

daemon_veth
start_lighttpd
start_nginx
AB=(timeout 240 ab -q -s 60 -n "$N" -c 100)
requests "kernel ab -> lighttpd on mtcpd, kept alive" kernel "${AB[@]}" -k http://$MTCPD_IP/64
requests "kernel ab -> lighttpd on mtcpd, closed" kernel "${AB[@]}" http://$MTCPD_IP/64
requests "ab on mtcpd -> kernel nginx, kept alive" mtcp "${AB[@]}" -k http://$KERNEL_IP/64
requests "ab on mtcpd -> kernel nginx, closed" mtcp "${AB[@]}" http://$KERNEL_IP/64
check_equal "flows left, TIME-WAIT aside" 0 \
	"$(wait_until 5 no_flows; live_flows)"
check "the daemon is alive" alive
e2e_end
