#!/bin/bash
# docs/rfc.md names functions and tests that exist: a table of rules ages like any other copy.
. "$(dirname "$0")/lib.sh"
TABLE=$SRC/docs/rfc.md

# A definition: the name at the start of a line or behind its type, and no semicolon.
functions_missing()
{
	local file name missing=0

	while IFS=: read -r file name; do
		grep -Eqs "^([a-z].*[ *])?$name\([^;]*$" "$SRC/daemon/$file" && continue
		echo "daemon/$file has no $name"
		missing=1
	done < <(grep -o '`[a-z0-9_]*/[a-z0-9_]*\.c:[a-z0-9_]*`' "$1" | tr -d '`' | sort -u)
	return $missing
}

# Each name that stands twice or more in the unit tests: defined, and in a table of tests.
grep -rohE '\btest_[a-z0-9_]+' "$SRC/tests/unit" | sort | uniq -d >"$T/tests"

tests_missing()
{
	local name missing=0

	while read -r name; do
		case $name in
		test_*) grep -qxF "$name" "$T/tests" ;;
		e2e_*) [ -x "$SRC/tests/e2e/test_${name#e2e_}.sh" ] ;;
		fuzz_*) [ -e "$SRC/tests/fuzz/$name.c" ] ;;
		*.pkt) [ -e "$SRC/tests/script/$name" ] ;;
		esac && continue
		echo "there is no $name"
		missing=1
	done < <(grep -oE '`((test|e2e|fuzz)_[a-z0-9_]+|[a-z0-9]+/[a-z0-9._-]+\.pkt)`' "$1" | tr -d '`' |
		sort -u)
	return $missing
}

check "every function that docs/rfc.md names is there" functions_missing "$TABLE"
check "every test that it names is there" tests_missing "$TABLE"
check "it names over 50 functions" test \
	"$(grep -o '\.c:' "$TABLE" | wc -l)" -gt 50
echo '`tcp/rtt.c:no_such` `test_no_such` `e2e_no_such`' >"$T/wrong.md"
check "one that is not there would be seen" fails functions_missing "$T/wrong.md"
echo '`rfc9293/no-such.pkt`' >"$T/wrong-script.md"
check "a script too" fails tests_missing "$T/wrong-script.md"
check "and so would a test" fails tests_missing "$T/wrong.md"
finish
