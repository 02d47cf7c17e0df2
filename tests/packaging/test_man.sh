#!/bin/bash
# The manual is sound roff and knows every option, filter, call and key of what it describes.
. "$(dirname "$0")/lib.sh"
need man groff
install_tree
MAN=$ROOT$PREFIX/share/man

# text PAGE: as it is read.
text()
{
	MANWIDTH=200 man -l -Tutf8 "$MAN/$1" 2>/dev/null | col -b
}

for page in man1/mtcp-run.1 man5/mtcpd.conf.5 man7/mtcp-client.7 man8/mtcpd.8 man8/mtcpctl.8; do
	check "$page is roff without a warning" silent groff -man -ww -z "$MAN/$page"
done

# knows PAGE WORDS: names those of them that the page does not have.
knows()
{
	local page=$1 word missing=''

	text "$page" >"$T/page"
	[ -s "$T/page" ] || return 1
	[ -n "$2" ] || return 1
	for word in $2; do
		grep -qwF -e "$word" "$T/page" || missing+=" $word"
	done
	[ -z "$missing" ] || { echo "$page has no$missing"; false; }
}

long_options()
{
	"$@" --help | grep -o -e '--[a-z][a-z-]*' | sort -u
}

check "mtcpd(8) knows its options" knows man8/mtcpd.8 "$(long_options "$BUILD/bin/mtcpd")"
check "mtcp-run(1) knows its options" knows man1/mtcp-run.1 "$(long_options "$BUILD/bin/mtcp-run")"
check "mtcpctl(8) knows its options" knows man8/mtcpctl.8 "$(long_options "$BUILD/bin/mtcpctl")"
check "mtcpctl(8) knows its commands and filters" knows man8/mtcpctl.8 \
	"$("$BUILD/bin/mtcpctl" --help | sed -n '/^COMMANDS/,/^OPTIONS/s/^       \([a-z][a-z]*\) .*/\1/p')"
check "mtcp-client(7) knows every call" knows man7/mtcp-client.7 \
	"$(grep '^MTCP_API' "$SRC/libclient/mtcp_client.h" | grep -o 'mtcp_[a-z0-9_]*(' | tr -d '(')"
check "mtcpd.conf(5) knows every key" knows man5/mtcpd.conf.5 \
	"$("$BUILD/bin/mtcpd" --help | sed -n 's/^#\([a-z0-9_]*\) =.*/\1/p')"
check "a word that is not there is missed" fails knows man8/mtcpd.8 --no-such-option
finish
