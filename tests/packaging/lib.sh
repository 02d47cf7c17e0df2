# shellcheck shell=bash disable=SC2034
# What the packaging tests share. Each runs from a finished build ($BUILD), installs it below a
# directory of its own ($T/root, as a package would be made) and judges what is there. None needs
# root, a network or the daemon at work: those are end-to-end tests.

set -u -o pipefail

SRC=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${BUILD:-$SRC/build/release}
T=$(mktemp -d /tmp/mtcpd-packaging.XXXXXX)
ROOT=$T/root
PREFIX=$(sed -n 's/^CMAKE_INSTALL_PREFIX:PATH=//p' "$BUILD/CMakeCache.txt")
FAILED=0
trap 'rm -rf "$T"' EXIT

skip()
{
	echo "SKIP $(basename "$0"): $*"
	exit 77
}

need()
{
	local program

	for program in "$@"; do
		command -v "$program" >/dev/null || skip "$program is not installed"
	done
}

# check WHAT COMMAND...: passes if the command succeeds; shows what it said if not.
check()
{
	local what=$1

	shift
	if "$@" >"$T/said" 2>&1; then
		echo "PASS $what"
	else
		FAILED=$((FAILED + 1))
		echo "FAIL $what ($*)"
		cat "$T/said"
	fi
}

# silent COMMAND...: succeeds if the command does and writes nothing at all.
silent()
{
	"$@" >"$T/silent" 2>&1 && [ ! -s "$T/silent" ] || { cat "$T/silent"; false; }
}

# fails COMMAND...: succeeds if the command does not.
fails()
{
	! "$@"
}

install_tree()
{
	DESTDIR=$ROOT cmake --install "$BUILD" >"$T/install.log" 2>&1 ||
		{ cat "$T/install.log"; echo "FAIL cmake --install"; exit 1; }
}

finish()
{
	[ $FAILED = 0 ]
	exit
}
