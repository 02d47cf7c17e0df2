#!/bin/bash
# The devices that no other test lets serve: net_pcap and net_af_xdp on a veth serve the kernel's
# curl; net_ring comes up and ends; virtio_user is refused cleanly where the machine lacks it.
. "$(dirname "$0")/lib.sh"
e2e_begin curl lighttpd sha256sum

BYTES=$((20 * 1000 * 1000))

begin()
{
	daemon_conf d "$1" $MTCPD_IP/24 "gateway = $KERNEL_IP"
	daemon_start d
	DAEMON_PID=$LAST
}

end()
{
	stop "$DAEMON_PID"
	check_equal "$1: exit status on SIGTERM" 0 "$STATUS"
}

# device_serves NAME DEVICE
device_serves()
{
	begin "$2"
	start_lighttpd
	check_equal "$1: 20 MB to the kernel's curl; SHA-256" "$(sha256sum <"$T/www/big")" \
		"$(kernel curl -s -m 60 http://$MTCPD_IP/big | sha256sum)"
	stop "$LIGHTTPD"
	end "$1"
}

net_veth
mkdir "$T/www"
head -c $BYTES /dev/urandom >"$T/www/big"
device_serves net_pcap net_pcap0,iface=vm
device_serves net_af_xdp net_af_xdp0,iface=vm

begin net_ring0
check_equal "net_ring: it shows its port" net_ring0 "$(ctl -j port | jq -r '.[0].port')"
end net_ring

if [ -c /dev/vhost-net ]; then
	begin net_virtio_user0,path=/dev/vhost-net
	check_equal "net_virtio_user: it shows its port" net_virtio_user0 \
		"$(ctl -j port | jq -r '.[0].port')"
	end net_virtio_user
else
	echo "no /dev/vhost-net: net_virtio_user is only refused here"
	daemon_conf none net_virtio_user0,path=/dev/vhost-net $MTCPD_IP/24
	in_ns "$M" timeout 20 "$BIN/mtcpd" --config "$T/none.conf" >"$T/none.log" 2>&1
	check_equal "net_virtio_user without its backend (status)" 1 $?
	check "which the log tells" grep -q '^<3>.*net_virtio_user0,path=/dev/vhost-net' "$T/none.log"
fi
e2e_end
