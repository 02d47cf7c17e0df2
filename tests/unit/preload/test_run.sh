#!/bin/sh
# What mtcp-run promises without a daemon: test_run.sh PATH-OF-mtcp-run
set -u
run=$1
failed=0
total=0
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
unset MTCPD_SOCKET MTCP_FALLBACK

# expect NAME STATUS PATTERN COMMAND...: the status, and a line of the output that matches
expect()
{
	name=$1 status=$2 pattern=$3
	shift 3
	total=$((total + 1))
	"$@" >"$dir/out" 2>&1
	got=$?
	if [ $got -ne "$status" ] || ! grep -Eq -- "$pattern" "$dir/out"; then
		failed=$((failed + 1))
		echo "not ok: $name: status $got, wanted $status, and /$pattern/ in:"
		sed 's/^/	/' "$dir/out"
	fi
}

missing=$dir/none.sock
expect help 0 '^usage: mtcp-run' "$run" --help
expect version 0 '^mtcp-run [0-9]+\.[0-9]+' "$run" --version
expect no_program 2 'no program' "$run"
expect unknown_option 2 'unknown option --frob' "$run" --frob true
expect option_without_value 2 'needs a path' "$run" -s
expect program_not_found 127 'no-such-program: not found' "$run" -s "$missing" no-such-program
expect daemon_missing 69 "no mtcpd at $missing" "$run" -s "$missing" true
expect daemon_missing_by_environment 69 "no mtcpd at $missing" \
	env MTCPD_SOCKET="$missing" "$run" true
expect fallback_runs 0 '^MTCP_FALLBACK=1$' "$run" -s "$missing" --fallback env
expect preloads_first 0 '^LD_PRELOAD=/.*/libmtcp-preload\.so:other' \
	sh -c "LD_PRELOAD=other '$run' -s '$missing' --fallback /usr/bin/env 2>/dev/null"
expect status_of_program 7 '^$' "$run" -s "$missing" --fallback sh -c 'echo; exit 7'
expect arguments_intact 0 '^<a b><-c>$' \
	"$run" -s "$missing" --fallback -- printf '<%s><%s>\n' 'a b' -c
ln -s "$run" "$dir/link"
expect called_by_link 0 '^there$' "$dir/link" -s "$missing" --fallback echo there

# A socket that nobody listens on any more: the program is told, not hung.
python3 -c "import socket,sys; socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).bind(sys.argv[1])" \
	"$dir/stale.sock"
expect stale_socket 1 'Network is down' timeout 200 "$run" -s "$dir/stale.sock" python3 -c '
import socket, sys
try:
    socket.create_connection(("203.0.113.1", 80), 5)
except OSError as e:
    sys.exit(e.strerror)'
expect stale_socket_is_named 1 "no mtcpd at $dir/stale.sock: Connection refused" \
	timeout 200 "$run" -s "$dir/stale.sock" python3 -c '
import socket
socket.create_connection(("203.0.113.1", 80), 5)'

echo "$((total - failed)) passed, $failed failed"
[ $failed -eq 0 ]
