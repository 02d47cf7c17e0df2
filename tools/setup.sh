# shellcheck shell=bash
# What tools/quickstart and tools/check share: packages, build, hugepages. Sourced by them.
#
# All of it may be done twice, and twice at once: packages that are there are left alone, cmake
# builds what changed, and hugepages are added to those there are and taken away again by
# number, never set.

set -u -o pipefail

SRC=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
HUGEPAGES_ADDED=0

say()
{
	printf '\n==> %s\n' "$*"
}

die()
{
	printf '%s: %s\n' "$(basename "$0")" "$*" >&2
	exit 1
}

need_root()
{
	[ "$(id -u)" = 0 ] || die "run me as root (packages, hugepages and network devices need it)"
}

is_installed()
{
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# A server that Debian starts on installation would take the kernel's port 80: forbid that for
# the time of the installation, and its start at boot if it is we who brought it.
apt_install()
{
	local policy=/usr/sbin/policy-rc.d ours='' status=0 package

	if [ ! -e $policy ]; then
		ours=$policy
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 755 $policy
	fi
	DEBIAN_FRONTEND=noninteractive apt-get -qq update &&
		DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$@" \
			>/dev/null || status=1
	[ -z "$ours" ] || rm -f $ours
	for package in "$@"; do
		systemctl disable "$package" >/dev/null 2>&1
	done
	return $status
}

# install_packages GROUP...: those of tools/packages that are missing.
install_packages()
{
	local missing=() group package

	while read -r group package; do
		[[ " $* " == *" $group "* ]] || continue
		is_installed "$package" || missing+=("$package")
	done < <(grep -v '^#' "$SRC/tools/packages")
	[ ${#missing[@]} -gt 0 ] || return 0
	say "Installing ${missing[*]}"
	apt_install "${missing[@]}" || die "apt-get could not install ${missing[*]}"
}

# one_at_a_time DIRECTORY COMMAND...: nobody else's, as far as they lock the directory, too.
one_at_a_time()
{
	local lock status

	exec {lock}<"$1"
	flock "$lock"
	"${@:2}"
	status=$?
	exec {lock}<&-
	return $status
}

build_now()
(
	cd "$SRC" && cmake --preset "$1" &&
		cmake --build --preset "$1" -j "$(nproc)" ${2:+--target} "${@:2}"
)

# build PRESET [TARGET...]: into build/PRESET, all targets or those given.
build()
{
	local preset=$1 log=$SRC/build/$1.log

	shift
	mkdir -p "$SRC/build"
	say "Building preset $preset into build/$preset"
	if ! one_at_a_time "$SRC/build" build_now "$preset" "$@" >"$log" 2>&1; then
		tail -n 40 "$log" >&2
		return 1
	fi
}

# hugepages_change DIFFERENCE: as far as it goes; what it went is in $HUGEPAGES_ADDED.
hugepages_change()
{
	local file=/proc/sys/vm/nr_hugepages before wanted

	before=$(cat $file)
	wanted=$((before + $1))
	[ $wanted -ge 0 ] || wanted=0
	{ echo $wanted >$file; } 2>/dev/null
	HUGEPAGES_ADDED=$(($(cat $file) - before))
}

# hugepages_add COUNT: of 2 MiB; goes on with what there is.
hugepages_add()
{
	local file=/proc/sys/vm/nr_hugepages

	if [ ! -w $file ]; then
		echo "No hugepages on this machine: going on with plain pages."
		return 0
	fi
	one_at_a_time /run hugepages_change "$1"
	if [ $HUGEPAGES_ADDED -ge "$1" ]; then
		echo "Reserved $1 hugepages of 2 MiB (vm.nr_hugepages is $(cat $file) now)."
	else
		hugepages_remove
		echo "Could not reserve $1 hugepages: going on with plain pages."
	fi
}

hugepages_remove()
{
	[ "$HUGEPAGES_ADDED" -gt 0 ] || return 0
	one_at_a_time /run hugepages_change "-$HUGEPAGES_ADDED"
	HUGEPAGES_ADDED=0
}
