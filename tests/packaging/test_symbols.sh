#!/bin/bash
# The client library exports what its header declares, each name with its version, and nothing
# else: a program may rely on that and on no more.
. "$(dirname "$0")/lib.sh"
need nm readelf
install_tree
HEADER=$(find "$ROOT" -name mtcp_client.h)
LIBRARY=$(find "$ROOT" -name 'libmtcp-client.so.*' -type f)

declared()
{
	sed 's|/\*.*\*/||; /\/\*/,/\*\//d' "$HEADER" |
		grep -oE '\bmtcp_[a-z0-9_]+\(' | tr -d '('
}

# exported: names with their versions, the version itself aside.
exported()
{
	nm -D --defined-only "$LIBRARY" | awk '$2 != "A" { print $3 }' | sort
}

same()
{
	diff <(declared | sed 's/$/@@MTCP_0/' | sort -u) <(exported)
}

check "there is one library" test -f "$LIBRARY"
check "it exports the functions of the header, all of version MTCP_0, and no others" same
check "they are what there should be: at least 28" test "$(exported | wc -l)" -ge 28
check "its name for the loader is libmtcp-client.so.0" grep -q 'SONAME.*\[libmtcp-client\.so\.0\]' \
	<(readelf -d "$LIBRARY")
check "a program is linked with the versions" grep -q 'MTCP_0' \
	<(readelf -V "$BUILD/bin/mtcp-echo")
finish
