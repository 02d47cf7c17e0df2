#!/bin/bash
# systemd takes the unit, its drop-in, sysusers.d and tmpfiles.d without a word.
. "$(dirname "$0")/lib.sh"
need systemd-analyze systemd-sysusers systemd-tmpfiles
install_tree
UNITS=$T/units
mkdir -p "$UNITS"

# verify looks for the programs, so they get the paths where they are now.
relocate()
{
	sed "s,^\(Exec[A-Za-z]*=[-+]*\)\(/\),\1$ROOT\2," "$ROOT$PREFIX/lib/systemd/system/mtcpd.service"
}

# Its exit status is 0 even for a value that it ignores: what counts is that it says nothing.
verify()
{
	silent systemd-analyze verify --man=no "$UNITS/$1"
}

# with NAME SED-SCRIPT: the unit altered.
with()
{
	relocate | sed "$2" >"$UNITS/$1"
}

with mtcpd.service ''
check "mtcpd.service verifies" verify mtcpd.service
check "the programs that it runs are installed" test -x "$ROOT$PREFIX/sbin/mtcpd" -a \
	-x "$ROOT$PREFIX/libexec/mtcpd/mtcpd-hugepages"
with value.service 's/^WatchdogSec=.*/WatchdogSec=often/'
check "a bad value does not" fails verify value.service
with key.service 's/^ProtectHome=/ProtectHouse=/'
check "an unknown key does not" fails verify key.service
with program.service 's,^ExecStart=.*,ExecStart=/nonexistent/mtcpd,'
check "a program that is not there does not" fails verify program.service

mkdir "$UNITS/mtcpd.service.d"
cp "$ROOT$PREFIX/share/doc/mtcpd/af_xdp.conf" "$UNITS/mtcpd.service.d/"
check "it verifies with the drop-in for AF_XDP" verify mtcpd.service
echo 'ProtectHouse=yes' >>"$UNITS/mtcpd.service.d/af_xdp.conf"
check "and not with a mistake in that" fails verify mtcpd.service
rm -r "$UNITS/mtcpd.service.d"
check "systemd-analyze security rates it better than 5 of 10" systemd-analyze security \
	--offline=yes --no-pager --threshold=50 "$UNITS/mtcpd.service"

mkdir -p "$T/host/etc" "$T/host/run"
echo 'root:x:0:0:root:/root:/bin/sh' >"$T/host/etc/passwd"
echo 'root:x:0:' >"$T/host/etc/group"
# They speak of what they make; of a mistake they speak by the file's name.
check "sysusers.d is taken" systemd-sysusers --root="$T/host" \
	"$ROOT$PREFIX/lib/sysusers.d/mtcpd.conf"
check "without complaint" fails grep -F mtcpd.conf "$T/said"
check "and makes the group mtcp" grep -q '^mtcp:' "$T/host/etc/group"
if [ "$(id -u)" = 0 ]; then
	check "tmpfiles.d is taken without a word" silent systemd-tmpfiles --root="$T/host" \
		--create "$ROOT$PREFIX/lib/tmpfiles.d/mtcpd.conf"
	check "and makes the runtime directory" test \
		"$(stat -c '%F %a' "$T/host/run/mtcpd")" = 'directory 755'
fi
finish
