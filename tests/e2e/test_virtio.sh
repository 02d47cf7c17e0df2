#!/bin/bash
# Two daemons joined as a virtual machine and its host are: net_vhost on one side, net_virtio_user
# on the other. Checksums are left out, segments of 64 KB go over whole, and either side wakes the
# other.
. "$(dirname "$0")/lib.sh"
e2e_begin ab curl lighttpd sha256sum

N=${REQUESTS:-20000}
BYTES=$((128 * 1000 * 1000))

# of DAEMON COMMAND...
of()
{
	DAEMON=$1 "${@:2}"
}

# port DAEMON COUNTER
port()
{
	of "$1" ctl -j port | jq ".[0].$2"
}

# engine DAEMON COUNTER
engine()
{
	of "$1" ctl -j engine | jq "[.[].$2] | add"
}

# pair_start [LINE...]: both daemons, the server with its programs.
pair_start()
{
	daemon_conf server "net_vhost0,iface=$T/vhost" 10.78.0.1/24 "$@"
	daemon_conf client "net_virtio_user0,path=$T/vhost,queue_size=1024" 10.78.0.2/24 "$@"
	daemon_start server
	SERVER=$LAST
	daemon_start client
	CLIENT=$LAST
	DAEMON=server spawn_mtcp lighttpd lighttpd -D -f "$(lighttpd_conf 10.78.0.1)"
	LIGHTTPD=$LAST
	check "lighttpd on vhost answers curl on virtio-user" wait_until 10 ready
}

ready()
{
	of client mtcp curl -sf -m 20 -o /dev/null http://10.78.0.1/64
}

# transfer WHAT SERVING ASKING ADDRESS: the file, from a server on one daemon to curl on the other.
transfer()
{
	local start ms seen

	start=$(now_ms)
	seen=$(of "$3" mtcp curl -s -m 120 "http://$4/big" | sha256sum | cut -d' ' -f1)
	ms=$(($(now_ms) - start))
	check_equal "$1: 128 MB in $ms ms, $((BYTES / 1000 * 8 / (ms + 1))) Mbit/s; SHA-256" \
		"$EXPECTED" "$seen"
}

ns_new "$M"
mkdir "$T/www"
head -c $BYTES /dev/urandom >"$T/www/big"
EXPECTED=$(sha256sum "$T/www/big" | cut -d' ' -f1)
pair_start
transfer "vhost to virtio-user" server client 10.78.0.1
check_more "segments that vhost left to be cut" 1000 "$(port server tx_tso)"
check_more "of them merged at virtio-user" 1000 "$(port client rx_merged)"

lighttpd_conf 10.78.0.2 >/dev/null
sed "s/10.78.0.1/10.78.0.2/" "$T/lighttpd.conf" >"$T/lighttpd2.conf"
DAEMON=client spawn_mtcp lighttpd2 lighttpd -D -f "$T/lighttpd2.conf"
LIGHTTPD2=$LAST
answers_back()
{
	of server mtcp curl -sf -m 20 -o /dev/null http://10.78.0.2/64
}
check "lighttpd on virtio-user answers curl on vhost" wait_until 10 answers_back
transfer "virtio-user to vhost" client server 10.78.0.2
check_more "segments that virtio-user left to be cut" 1000 "$(port client tx_tso)"
check_more "of them merged at vhost" 1000 "$(port server rx_merged)"
for d in server client; do
	check_equal "bad checksums and frames too long at the $d" "0 0" \
		"$(port $d rx_bad_checksum) $(port $d rx_too_long)"
	check_more "times that the $d's engine was woken by a frame" 1 "$(engine $d wakes_queue)"
done

# Asleep they do not poll: a few timeouts a second, where every 200 us were 5000.
before=$(($(engine server timeouts) + $(engine client timeouts)))
start=$(now_ms)
sleep 2
timeouts=$(($(engine server timeouts) + $(engine client timeouts) - before))
check_less "timeouts of both engines in $(($(now_ms) - start)) idle ms" \
	$((($(now_ms) - start) / 10)) $timeouts
check "and then they wake" ready

of client mtcp timeout 120 ab -q -s 30 -n "$N" -c 50 http://10.78.0.1/64 >"$T/ab.out" 2>&1
check_equal "ab, a connection a request, failed of $N" "$N 0" \
	"$(awk '/^Complete requests/ { c = $3 } /^Failed requests/ { f = $3 } END { print c, f }' \
		"$T/ab.out")"

# Another client takes the place of the first.
stop "$LIGHTTPD2"
stop "$CLIENT"
daemon_start client
CLIENT=$LAST
check "a second virtio-user is answered" wait_until 10 ready
transfer "vhost to it" server client 10.78.0.1
stop "$LIGHTTPD"
stop "$CLIENT"
stop "$SERVER"

pair_start "offload = no"
transfer "offloads off" server client 10.78.0.1
check_equal "segments left to be cut" "0 0" "$(port server tx_tso) $(port client tx_tso)"
check_equal "checksums left to the port" "false false" \
	"$(port server tx_checksum) $(port client tx_checksum)"
e2e_end
