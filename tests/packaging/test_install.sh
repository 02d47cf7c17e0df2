#!/bin/bash
# cmake --install gives a tree that works where it is put: programs find their libraries, mtcp-run
# its preload library, and a program is built against the client library by pkg-config.
. "$(dirname "$0")/lib.sh"
need ldd pkg-config
install_tree
LIB=$(dirname "$(find "$ROOT" -name libmtcp-preload.so)")
COMPILER=$(sed -n 's/^CMAKE_C_COMPILER:[A-Z]*=//p' "$BUILD/CMakeCache.txt")

# linked FILE: every library that it needs is found, those of ours in the tree.
linked()
{
	ldd "$1" >"$T/ldd" || return 1
	if grep -q 'not found' "$T/ldd" || grep -F libmtcp "$T/ldd" | grep -vF " $ROOT"; then
		cat "$T/ldd"
		return 1
	fi
}

for file in sbin/mtcpd bin/mtcpctl; do
	check "$file runs" "$ROOT$PREFIX/$file" --version
done
while read -r file; do
	check "${file#"$ROOT"} finds its libraries" linked "$file"
done < <(find "$ROOT$PREFIX"/*bin "$LIB" -type f -exec sh -c \
	'head -c 4 "$1" | grep -q ELF' sh {} \; -print)
check "no text refers to the build tree" fails grep -rIlF "$BUILD/" "$ROOT$PREFIX"/*bin \
	"$ROOT$PREFIX/lib/systemd" "$LIB/pkgconfig"

# What the dynamic loader mapped into a program says which library it found.
check "mtcp-run preloads the installed library" test "$(MTCPD_SOCKET=/nonexistent \
	"$ROOT$PREFIX/bin/mtcp-run" --fallback sed -n 's,.* \(/.*libmtcp-preload.so\)$,\1,p' \
	/proc/self/maps | sort -u)" = "$(readlink -f "$LIB")/libmtcp-preload.so"
check "mtcp-run refuses without a daemon: 69" test "$(MTCPD_SOCKET=/nonexistent \
	"$ROOT$PREFIX/bin/mtcp-run" true 2>/dev/null; echo $?)" = 69

# The program that the README shows is the one that is compiled.
awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' "$SRC/README.md" >"$T/hello.c"
build_example()
{
	local flags

	flags=$(PKG_CONFIG_PATH=$LIB/pkgconfig PKG_CONFIG_SYSROOT_DIR=$ROOT \
		pkg-config --cflags --libs mtcp-client) || return 1
	# shellcheck disable=SC2086 # several flags
	"$COMPILER" -Wall -Wextra -Werror -o "$T/hello" "$T/hello.c" $flags
}
without_daemon()
{
	MTCPD_SOCKET=/nonexistent LD_LIBRARY_PATH=$LIB timeout 60 "$T/hello" 192.0.2.1
	[ $? = 1 ] && grep -qi 'no such file' "$T/said"
}
check "the example of the README builds with pkg-config" build_example
check "and says that there is no daemon" without_daemon
for page in man1/mtcp-run.1 man5/mtcpd.conf.5 man7/mtcp-client.7 man8/mtcpd.8 man8/mtcpctl.8; do
	check "$page is installed" test -s "$ROOT$PREFIX/share/man/$page"
done
finish
