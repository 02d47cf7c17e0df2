#!/bin/bash
# What the unit takes away from the daemon is not missed: it runs as installed, in a sandbox made
# from the unit file, and serves clients of another user.
#
# There is no systemd to run it, so the sandbox is made here: capabilities, no new privileges, a
# read-only file system but for the runtime directory, no /home and no /tmp of others. The filter
# of system calls, the address families and W^X are compared with what strace sees.
. "$(dirname "$0")/lib.sh"
e2e_begin setpriv unshare curl lighttpd nc
DESTDIR=$T/root cmake --install "$BUILD" >"$T/install.log" 2>&1 || skip "the build is not whole"
PREFIX=$(sed -n 's/^CMAKE_INSTALL_PREFIX:PATH=//p' "$BUILD/CMakeCache.txt")
UNIT=$T/root$PREFIX/lib/systemd/system/mtcpd.service
XDP=$T/root$PREFIX/share/doc/mtcpd/af_xdp.conf
BIN=$T/root$PREFIX/bin

# setting KEY: all values that unit and drop-in give it.
setting()
{
	sed -n "s/^$1=//p" "$UNIT" ${DROPIN:+"$DROPIN"} | tr '\n' ' '
}

# In a mount namespace: sandbox RUNTIME_DIR CONF ROOT COMMAND...
cat >"$T/sandbox" <<'EOS'
#!/bin/bash
set -e
runtime=$1 conf=$2 root=$3
shift 3
mount -t tmpfs sandbox /run
mkdir /run/installed /run/mtcpd /run/xdp # the last two: RuntimeDirectory= and tmpfiles.d
mount --bind "$root" /run/installed
mount --bind "$runtime" /run/mtcpd
cp "$conf" /run/mtcpd.conf
for dir in /home /root /tmp; do
	mount -t tmpfs sandbox $dir
done
while read -r _ _ _ _ dir _; do
	case $dir in
	/run/mtcpd | /tmp | /dev | /dev/* | /proc | /proc/*) ;;
	*) mount -o remount,bind,ro "$dir" 2>/dev/null || : ;; # hidden below another one
	esac
done </proc/self/mountinfo
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
for dir in /run /etc /usr /var /sys/class; do
	! touch $dir/mtcpd-sandbox 2>/dev/null || exit 9
done
export RUNTIME_DIRECTORY=/run/mtcpd
cd /
exec "$@"
EOS
chmod +x "$T/sandbox"

# daemon_sandboxed DEVICE: as daemon_start, from what is installed.
daemon_sandboxed()
{
	local caps trace=()

	mkdir -p "$T/d"
	printf '[daemon]\nruntime_dir = /run/mtcpd\ngroup = nogroup\nshutdown_timeout_s = 2
		[port]\ndevice = %s\naddress = %s\n' "$1" $MTCPD_IP/24 >"$T/d.conf"
	caps=$(setting CapabilityBoundingSet | tr 'A-Z ' 'a-z,' | sed 's/cap_/+/g; s/,$//')
	rm -f "$T/trace"
	[ -z "$STRACE" ] || trace=(strace -D -f -qq -o "$T/trace")
	spawn d "${trace[@]}" ip netns exec "$M" unshare -m --propagation private \
		"$T/sandbox" "$T/d" "$T/d.conf" "$T/root" \
		setpriv --bounding-set "-all,$caps" --inh-caps=-all --no-new-privs \
		"/run/installed$PREFIX/sbin/mtcpd" --config /run/mtcpd.conf
	DAEMON_PID=$LAST
	wait_until 20 answers d
}

# expand @GROUP|NAME...: system calls.
# shellcheck disable=SC2046 # words are wanted
expand()
{
	local word

	for word in "$@"; do
		case $word in
		@*) expand $(systemd-analyze syscall-filter "$word" | sed '1d; s/#.*//') ;;
		*) echo "$word" ;;
		esac
	done
}

# What the daemon did that the unit forbids; what was refused anyway is no loss.
# shellcheck disable=SC2046
forbidden_calls()
{
	comm -13 <(expand $(setting SystemCallFilter) | sort -u) \
		<(grep -v -e ' = -1 EPERM' -e ' = -1 ENOSYS' "$T/did" | sed -n 's/^[0-9]* *\([a-z0-9_]*\)(.*/\1/p' | sort -u)
}

forbidden_families()
{
	comm -13 <(tr ' ' '\n' <<<"$(setting RestrictAddressFamilies)" | sort -u) \
		<(sed -n 's/^[0-9]* *socket(\([A-Z_]*\),.*/\1/p' "$T/did" | sort -u)
}

judge_trace()
{
	[ -n "$STRACE" ] || return 0
	sed '1,/execve("[^"]*\/sbin\/mtcpd"/d' "$T/trace" >"$T/did"
	check_more "$1: system calls seen" 1000 "$(wc -l <"$T/did")"
	check_equal "$1: system calls outside of the filter" "" "$(forbidden_calls | tr '\n' ' ')"
	check_equal "$1: address families outside" "" "$(forbidden_families | tr '\n' ' ')"
	check_equal "$1: memory both writable and executable" 0 \
		"$(grep -c 'PROT_WRITE|PROT_EXEC' "$T/did")"
}

as_nobody()
{
	MTCPD_SOCKET=$T/d/mtcpd.sock in_ns "$M" setpriv --reuid=65534 --regid=65534 \
		--clear-groups "$@"
}

# serve DEVICE-NAME DEVICE: the whole life of a daemon on that device.
serve()
{
	if ! daemon_sandboxed "$2" 2>/dev/null; then
		fail "$1: mtcpd starts with what the unit leaves it"
		return
	fi
	pass "$1: mtcpd starts with what the unit leaves it"
	check_equal "$1: its capabilities" "$(setting CapabilityBoundingSet | wc -w)" \
		"$(capsh --decode="$(sed -n 's/^CapEff:\t//p' "/proc/$DAEMON_PID/status")" |
			tr ',' '\n' | wc -l)"
	if [ "$1" = tap ]; then
		offloads_off "$M" tap0
		ip -n "$M" addr add $KERNEL_IP/24 dev tap0
		ip -n "$M" link set tap0 up
	fi
	start_lighttpd
	check "$1: root serves on port 80" serves http://$MTCPD_IP/64
	as_nobody timeout 30 "$BIN/mtcp-run" nc -l $MTCPD_IP 79 2>"$T/nobody.log"
	check "$1: another user may not, for want of permission" \
		grep -qi 'permission denied' "$T/nobody.log"
	as_nobody "$BIN/mtcp-run" nc -l $MTCPD_IP 7000 >"$T/nc.out" 2>"$T/nobody.log" &
	wait_until 3 listening 7000
	kernel timeout 50 nc -N $MTCPD_IP 7000 <<<hello >/dev/null
	wait $!
	check_equal "$1: but serves on port 7000" hello "$(cat "$T/nc.out")"
	spawn low env MTCPD_SOCKET="$T/d/mtcpd.sock" ip netns exec "$M" setpriv --reuid=65534 \
		--regid=65534 --clear-groups --inh-caps=+net_bind_service \
		--ambient-caps=+net_bind_service "$BIN/mtcp-run" nc -l $MTCPD_IP 79
	check "$1: and with CAP_NET_BIND_SERVICE on port 79" wait_until 3 listening 79
	stop "$LAST"
	stop "$LIGHTTPD"
	stop "$DAEMON_PID"
	check_equal "$1: exit status" 0 "$STATUS"
	check_equal "$1: left in the runtime directory" "" "$(ls -A "$T/d")"
	judge_trace "$1"
}

STRACE=$(command -v strace) || STRACE=
command -v systemd-analyze >/dev/null || STRACE=
[ -n "$STRACE" ] || echo "strace or systemd-analyze is missing: system calls are not compared"
net_veth
serve af_packet net_af_packet0,iface=vm
DROPIN=$XDP
# Elsewhere LimitMEMLOCK= lets it pin as much; here CAP_IPC_LOCK of the drop-in does.
serve af_xdp net_af_xdp0,iface=vm
DROPIN=
if [ -c /dev/net/tun ]; then
	H=$M # one namespace for both
	serve tap net_tap0,iface=tap0
fi

free=$(sed -n 's/^HugePages_Free: *//p' /proc/meminfo)
before=$(cat /proc/sys/vm/nr_hugepages)
"$T/root$PREFIX/libexec/mtcpd/mtcpd-hugepages" "$free"
check_equal "mtcpd-hugepages leaves alone what suffices" "$before" \
	"$(cat /proc/sys/vm/nr_hugepages)"
e2e_end
