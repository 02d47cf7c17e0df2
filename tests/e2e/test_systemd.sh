#!/bin/bash
# The unit and its companions: accepted, and what they take away is not missed.
. "$(dirname "$0")/lib.sh"
e2e_begin systemd-analyze systemd-sysusers systemd-tmpfiles setpriv curl lighttpd

UNIT=$BUILD/systemd/verify/mtcpd.service

# verify returns 0 on bad values too: what counts is what it says of this unit.
verify()
{
	systemd-analyze verify --man=no "$1" 2>&1 | grep -F "$(basename "$1")"
}

check_equal "systemd-analyze verify says of mtcpd.service" "" "$(verify "$UNIT")"
sed 's/^WatchdogSec=.*/WatchdogSec=often/' "$UNIT" >"$T/broken.service"
check "and it does say something of a bad value" test -n "$(verify "$T/broken.service")"
paths_aside()
{
	sed 's,^\(ExecStart[a-zA-Z]*\)=.*/\([a-z-]*\),\1=\2,; s,--config [^ ]*,,' "$1"
}
check "the installed unit differs in paths alone" \
	diff <(paths_aside "$UNIT") <(paths_aside "$BUILD/systemd/mtcpd.service")
check_less "exposure by systemd-analyze security" 6 "$(systemd-analyze security --offline=yes \
	--no-pager "$UNIT" 2>/dev/null | sed -n 's/.*Overall exposure.*: \([0-9.]*\) .*/\1/p')"

mkdir -p "$T/root/etc" "$T/root/run"
echo 'root:x:0:0:root:/root:/bin/sh' >"$T/root/etc/passwd"
echo 'root:x:0:' >"$T/root/etc/group"
systemd-sysusers --root="$T/root" "$SRC/systemd/sysusers.d/mtcpd.conf" >"$T/sysusers.log" 2>&1
check "sysusers.d makes the group mtcp" grep -q '^mtcp:' "$T/root/etc/group"
systemd-tmpfiles --root="$T/root" --create "$SRC/systemd/tmpfiles.d/mtcpd.conf" 2>"$T/tmpfiles.log"
check_equal "tmpfiles.d makes the runtime directory" "directory 755" \
	"$(stat -c '%F %a' "$T/root/run/mtcpd")"

before=$(cat /proc/sys/vm/nr_hugepages)
free=$(sed -n 's/^HugePages_Free: *//p' /proc/meminfo)
"$SRC/systemd/mtcpd-hugepages" "$free"
check_equal "mtcpd-hugepages leaves alone what suffices" "$before" \
	"$(cat /proc/sys/vm/nr_hugepages)"

# The daemon with the unit's capabilities serves a client that has none of its own.
net_veth
daemon_conf d net_af_packet0,iface=vm $MTCPD_IP/24 '[tcp]' 'unprivileged_port_first = 81'
caps=$(sed -n 's/^CapabilityBoundingSet=//p' "$UNIT" | tr 'A-Z ' 'a-z,' |
	sed 's/cap_/+/g')
spawn d ip netns exec "$M" setpriv --bounding-set "-all,$caps" --inh-caps=-all --no-new-privs \
	"$BIN/mtcpd" --config "$T/d.conf"
DAEMON_PID=$LAST
check "mtcpd starts with the unit's capabilities" wait_until 15 answers d
check_equal "which are few: CapEff" 7 \
	"$(sed -n 's/^CapEff:\t//p' "/proc/$DAEMON_PID/status" | fold -w1 |
		awk '{ n += substr("0112122312232334", index("0123456789abcdef", $1), 1) }
			END { print n }')"
start_lighttpd
check "root binds port 80" serves http://$MTCPD_IP/64
check_equal "nobody may not" "" "$(MTCPD_SOCKET=$T/d/mtcpd.sock in_ns "$M" setpriv \
	--reuid=65534 --regid=65534 --clear-groups "$BIN/mtcp-run" timeout 2 nc -l $MTCPD_IP 79 \
	2>>"$T/nobody.log"; [ $? = 124 ] && echo "it listens")"
check "for want of permission" grep -qi 'permission denied' "$T/nobody.log"
stop "$DAEMON_PID"
check_equal "exit status" 0 "$STATUS"
e2e_end
