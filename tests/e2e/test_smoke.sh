#!/bin/bash
# The shortest way from the kernel through the daemon to a program and back.
. "$(dirname "$0")/lib.sh"
e2e_begin curl lighttpd ping

pings()
{
	kernel ping -q -c 3 -i 0.05 -W 10 $MTCPD_IP >/dev/null
}

daemon_veth
check "ping mtcpd" pings
start_lighttpd
check_equal "curl fetches 64 bytes" "$(cat "$T/www/64")" \
	"$(kernel curl -s -m 30 http://$MTCPD_IP/64)"
check_equal "curl of nothing" 404 \
	"$(kernel curl -s -m 30 -o /dev/null -w '%{http_code}' http://$MTCPD_IP/none)"
check_equal "a port without a listener refuses (curl's status)" 7 \
	"$(kernel curl -s -m 30 http://$MTCPD_IP:81/; echo $?)"
check_equal "listeners shown" 1 "$(ctl -j listen | jq -s 'flatten | length')"
check_more "frames counted" 20 "$(counter engine.rx_frames)"
stop "$DAEMON_PID"
check_equal "exit status on SIGTERM" 0 "$STATUS"
e2e_end
