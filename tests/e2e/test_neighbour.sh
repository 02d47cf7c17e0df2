#!/bin/bash
# The first connection of a neighbour that mtcpd has never heard of: neither its SYN|ACK nor its
# reset is dropped, which would wait for the other end to ask again, a second later.
. "$(dirname "$0")/lib.sh"
e2e_begin curl lighttpd

# A host on link that knows mtcpd's MAC already, and so gives it no occasion to learn its own.
new_neighbour()
{
	kernel ip addr add "$1/24" dev vh
}

# status_from ADDRESS URL: curl's, and how long it took.
status_from()
{
	kernel curl -s -m 30 -o /dev/null -w '%{exitcode}, after %{time_total} s' --interface "$1" "$2"
}

daemon_veth
start_lighttpd
kernel ip neigh replace $MTCPD_IP lladdr 02:00:00:00:77:02 dev vh nud permanent
for i in 51 52 53; do
	new_neighbour 10.77.0.$i
	seen=$(status_from 10.77.0.$i http://$MTCPD_IP/64)
	check_equal "first page for 10.77.0.$i (status $seen)" 0 "${seen%%,*}"
done
new_neighbour 10.77.0.54
seen=$(status_from 10.77.0.54 http://$MTCPD_IP:81/)
check_equal "first refusal for 10.77.0.54 (status $seen)" 7 "${seen%%,*}"
check_more "answers held until the neighbour was known" 4 "$(counter engine.replies_held)"
check_equal "answers dropped" 0 "$(counter engine.tx_no_neighbour)"
e2e_end
