#!/bin/bash
# The first connection of a neighbour that mtcpd has never heard of: neither its SYN|ACK nor its
# reset waits for the other end to ask again, a second later.
. "$(dirname "$0")/lib.sh"
e2e_begin curl lighttpd

# A host on link that knows mtcpd's MAC already, and so gives it no occasion to learn its own.
new_neighbour()
{
	kernel ip addr add "$1/24" dev vh
}

seconds_from()
{
	kernel curl -s -m 5 -o /dev/null -w '%{time_total}' --interface "$1" "$2"
}

daemon_veth
start_lighttpd
kernel ip neigh replace $MTCPD_IP lladdr 02:00:00:00:77:02 dev vh nud permanent
for i in 51 52 53; do
	new_neighbour 10.77.0.$i
	check_less "first page for 10.77.0.$i" 0.5 \
		"$(seconds_from 10.77.0.$i http://$MTCPD_IP/64)" s
done
new_neighbour 10.77.0.54
check_less "first refusal for 10.77.0.54" 0.5 \
	"$(seconds_from 10.77.0.54 http://$MTCPD_IP:81/)" s
check_more "answers held until the neighbour was known" 4 "$(counter engine.replies_held)"
check_equal "answers dropped" 0 "$(counter engine.tx_no_neighbour)"
e2e_end
