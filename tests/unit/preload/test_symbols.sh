#!/bin/sh
# test_symbols.sh PRELOAD-LIBRARY MAP WRAPPED-NAMES ARCHIVE...
#
# The library exports the names of its map and nothing else, and no archive linked into it calls
# an interposed name that is not wrapped (libclient/preload/wrap.c).
set -u
library=$1 map=$2 wrapped=$3
shift 3
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

sed -n '/global:/,/local:/p' "$map" | grep -oE '[A-Za-z_0-9]+;' | tr -d ';' | sort >"$dir/map"
nm -D --defined-only "$library" | awk '$2 ~ /[A-Z]/ { print $3 }' | sort >"$dir/exported"
if ! diff "$dir/map" "$dir/exported" >"$dir/diff"; then
	echo "the map (<) and the exported names (>) differ:"
	cat "$dir/diff"
	exit 1
fi
echo "$wrapped" | tr '; ' '\n\n' | sort >"$dir/wrapped"
nm -u "$@" 2>/dev/null | awk 'NF == 2 { print $2 }' | sort -u >"$dir/called"
loose=$(comm -12 "$dir/map" "$dir/called" | comm -23 - "$dir/wrapped")
if [ -n "$loose" ]; then
	echo "called by the native library, interposed, and not wrapped:" $loose
	exit 1
fi
echo "$(wc -l <"$dir/map") names exported, $(comm -12 "$dir/called" "$dir/wrapped" | wc -l) wrapped calls"
