#!/bin/bash
# 256 MB through mtcpd, each way, as client and as server: every byte as it was.
. "$(dirname "$0")/lib.sh"
e2e_begin curl lighttpd nc nginx sha256sum

BYTES=$((256 * 1000 * 1000))

digest()
{
	sha256sum "$@" | cut -d' ' -f1
}

# timed WHAT EXPECTED-DIGEST COMMAND...: its output has that digest.
timed()
{
	local what=$1 expected=$2 start seen ms

	shift 2
	start=$(now_ms)
	seen=$("$@" | digest)
	ms=$(($(now_ms) - start))
	check_equal "$what, 256 MB in $ms ms, $((BYTES / 1000 * 8 / (ms + 1))) Mbit/s; SHA-256" \
		"$expected" "$seen"
}

daemon_veth
mkdir "$T/www"
head -c $BYTES /dev/urandom >"$T/www/big"
EXPECTED=$(digest "$T/www/big")

start_lighttpd
timed "kernel curl <- lighttpd on mtcpd" "$EXPECTED" \
	kernel curl -s -m 120 http://$MTCPD_IP/big
start_nginx
timed "curl on mtcpd <- the kernel's nginx" "$EXPECTED" \
	mtcp curl -s -m 120 http://$KERNEL_IP/big

kernel_listening()
{
	kernel ss -Hltn "sport = :$1" | grep -q .
}

# Uploads, so that each side is also the receiver of a push.
upload_to_mtcpd()
{
	spawn_mtcp nc-mtcp sh -c "timeout 120 nc -l $MTCPD_IP 7000 >$T/up.mtcp"
	local server=$LAST
	wait_until 5 listening 7000
	kernel sh -c "timeout 120 nc -N $MTCPD_IP 7000 <$T/www/big"
	wait "$server"
	cat "$T/up.mtcp"
}
upload_to_kernel()
{
	spawn_kernel nc-kernel sh -c "timeout 120 nc -l $KERNEL_IP 7000 >$T/up.kernel"
	local server=$LAST
	wait_until 5 kernel_listening 7000
	mtcp sh -c "timeout 120 nc -N $KERNEL_IP 7000 <$T/www/big"
	wait "$server"
	cat "$T/up.kernel"
}
timed "kernel nc -> nc on mtcpd" "$EXPECTED" upload_to_mtcpd
timed "nc on mtcpd -> kernel nc" "$EXPECTED" upload_to_kernel

check_equal "flows left, TIME-WAIT aside" 0 \
	"$(wait_until 5 no_flows; live_flows)"
check_equal "payload dropped for want of chunks" 0 "$(counter engine.rx_chunks_empty)"
check_more "segments cut only before the port" 100 "$(ctl -j port | jq '.[0].tx_cut')"
check "the daemon is alive" alive
e2e_end
