#!/bin/bash
# From the configuration to the end: mistakes, readiness, SIGTERM, kill -9, two daemons.
. "$(dirname "$0")/lib.sh"
e2e_begin curl lighttpd nginx

# Of daemons that are no more: others may be at work.
leftovers()
{
	local dir pid

	ls -A /dev/hugepages /dev/shm 2>/dev/null
	find /run -maxdepth 1 -name mtcpd
	for dir in /run/dpdk/mtcpd-*; do
		pid=${dir#*/mtcpd-}
		[ -e "/proc/${pid%%-*}" ] || echo "$dir"
	done
}

# -- configuration -------------------------------------------------------------------------------
# mistake WHAT PATTERN LINE...: --check-config reports it with file and line.
mistake()
{
	local what=$1 pattern=$2 seen status

	shift 2
	printf '%s\n' "$@" >"$T/bad.conf"
	seen=$("$BIN/mtcpd" --check-config --config "$T/bad.conf" 2>&1)
	status=$?
	if [ $status -ne 0 ] && grep -Eq "$pattern" <<<"$seen"; then
		pass "$what: $(grep -Em1 "$pattern" <<<"$seen")"
	else
		fail "$what: status $status, $seen"
	fi
}
PORT=('[port]' 'device = net_tap0,iface=e2enone' 'address = 10.77.0.2/24')
mistake "unknown key" "bad.conf:4:.*colour" "${PORT[@]}" 'colour = red'
mistake "unknown section" "bad.conf:[45]:.*paint" "${PORT[@]}" '[paint]' 'colour = red'
mistake "bad number, with the bounds" "bad.conf:4:.*576 to 9000" "${PORT[@]}" 'mtu = 12'
mistake "bad choice, with the choices" "bad.conf:2:.*error\|warning" \
	'[daemon]' 'log_level = loud' "${PORT[@]}"
mistake "bad address" "bad.conf:3:" '[port]' 'device = net_tap0' 'address = 10.77.0.256/24'
mistake "bad device" "bad.conf:2:" '[port]' 'device = eth0' 'address = 10.77.0.2/24'
mistake "no device" "device" '[port]' 'address = 10.77.0.2/24'
check_equal "check of a good configuration (status)" 0 \
	"$(printf '%s\n' "${PORT[@]}" >"$T/good.conf"
	"$BIN/mtcpd" -t -c "$T/good.conf" >/dev/null 2>&1; echo $?)"
check_equal "a file that is not there (status)" 1 \
	"$("$BIN/mtcpd" -t -c "$T/none.conf" >/dev/null 2>&1; echo $?)"
check_equal "the example is a configuration without mistakes but what it must leave open" 2 \
	"$("$BIN/mtcpd" -t -c "$SRC/docs/mtcpd.conf.example" 2>&1 | grep -c 'must be set\|required')"
keys=$("$BIN/mtcpd" --help | sed -n 's/^#*\([a-z_0-9]*\) =.*/\1/p' | sort -u)
check_more "keys that --help lists" 50 "$(wc -l <<<"$keys")"
check_equal "keys missing in mtcpd.conf(5)" "" "$(comm -23 <(echo "$keys") \
	<(sed -n 's/^\.B \([a-z_0-9]*\)$/\1/p' "$BUILD/systemd/mtcpd.conf.5" | sort -u))"
check_equal "keys missing in the example" "" "$(comm -23 <(echo "$keys") \
	<(sed -n 's/^#*\([a-z_0-9]*\) =.*/\1/p' "$SRC/docs/mtcpd.conf.example" | sort -u))"

# -- mtcpctl's exit codes ------------------------------------------------------------------------
check_equal "mtcpctl without a daemon (status)" 3 \
	"$(DAEMON=none ctl flow >/dev/null 2>&1; echo $?)"
check_equal "mtcpctl, unknown command (status)" 2 "$(ctl nonsense >/dev/null 2>&1; echo $?)"

# -- SIGTERM -------------------------------------------------------------------------------------
before=$(leftovers)
daemon_veth
for command in flow listen client engine port neigh counters version; do
	check_equal "mtcpctl $command (status)" 0 "$(ctl $command >/dev/null 2>&1; echo $?)"
	check "mtcpctl -j $command is JSON" jq -e . <(ctl -j $command) >"$T/json.out"
done
mkdir "$T/www"
head -c 8M /dev/urandom >"$T/www/big"
start_lighttpd
start_nginx
check "every line of the log has a priority" \
	test -z "$(grep -v '^<[0-7]>' "$T/d.log" | grep -v -e EAL: -e TELEMETRY)"

# A client in the middle of a download sees a connection closed or reset, not a hang.
spawn_kernel download curl -s -m 100 --limit-rate 100k -o /dev/null http://$MTCPD_IP/big
download=$LAST
spawn_mtcp reader curl -s -m 100 --limit-rate 100k -o /dev/null http://$KERNEL_IP/big
reader=$LAST
sleep 0.5
stop "$DAEMON_PID"
check_equal "exit status on SIGTERM with two transfers" 0 "$STATUS"
check_equal "sessions that it condemned meanwhile" 0 "$(grep -c '<4>session' "$T/d.log")"
wait "$download"
check "the kernel's curl ended: status $?" none_alive "$download"
# once it has read what came before, at its pace: some 400 kB with buffers that tune themselves
check "curl under mtcp-run ended with an error" wait_until 15 none_alive "$reader"
check_equal "runtime directory" "gone" "$([ -e "$T/d" ] && echo "there" || echo "gone")"
check_equal "leftovers in /dev/hugepages, /dev/shm, /run" "$before" "$(leftovers)"
stop "$LIGHTTPD"

# cpu_ticks PID: hundredths of a second of CPU time so far.
cpu_ticks()
{
	awk '{ print $14 + $15 }' "/proc/$1/stat"
}

# idles PID: it uses less than a fifth of a CPU over a second.
idles()
{
	local before

	before=$(cpu_ticks "$1")
	sleep 1
	[ $(($(cpu_ticks "$1") - before)) -lt 20 ]
}

# -- kill -9, and again --------------------------------------------------------------------------
daemon_start d
DAEMON_PID=$LAST
start_lighttpd
check "a daemon starts where one was" serves http://$MTCPD_IP/64
kill -9 "$DAEMON_PID"
wait "$DAEMON_PID" 2>/dev/null
check_equal "mtcpctl after kill -9 (status)" 3 "$(ctl flow >/dev/null 2>&1; echo $?)"
check "a server whose daemon was killed does not spin" idles "$LIGHTTPD"
stop "$LIGHTTPD"
daemon_start d
DAEMON_PID=$LAST
start_lighttpd
check "a daemon starts where one was killed" serves http://$MTCPD_IP/64
stop "$LIGHTTPD"

# -- two side by side ----------------------------------------------------------------------------
check_equal "a second daemon on the same directory is refused (status)" 1 \
	"$(in_ns "$M" timeout 60 "$BIN/mtcpd" -c "$T/d.conf" >"$T/second.log" 2>&1; echo $?)"
check "which it says" grep -qi 'another daemon' "$T/second.log"
check "and the first serves on" ctl version >"$T/version"
ip -n "$H" link add vh2 type veth peer name vm2 netns "$M"
offloads_off "$H" vh2
ip -n "$H" addr add 10.79.0.1/24 dev vh2
ip -n "$H" link set vh2 up
ip -n "$M" link set vm2 up
daemon_conf e net_af_packet0,iface=vm2 10.79.0.2/24
daemon_start e
second=$LAST
start_lighttpd
sed "s/$MTCPD_IP/10.79.0.2/" "$T/lighttpd.conf" >"$T/lighttpd2.conf"
DAEMON=e spawn_mtcp lighttpd2 lighttpd -D -f "$T/lighttpd2.conf"
check "the second daemon serves" wait_until 5 serves http://10.79.0.2/64
check "the first daemon serves" serves http://$MTCPD_IP/64
stop "$second"
check_equal "exit status of the second" 0 "$STATUS"
check "the first daemon serves on" serves http://$MTCPD_IP/64
stop "$DAEMON_PID" INT
check_equal "exit status of the first, on SIGINT" 0 "$STATUS"
check_equal "leftovers in /dev/hugepages, /dev/shm, /run" "$before" "$(leftovers)"
e2e_end
