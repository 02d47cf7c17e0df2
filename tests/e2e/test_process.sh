#!/bin/bash
# The daemon as a process: its command line, what it tells the service manager, how it idles,
# how it ends, and that it leaves nothing behind however it ends.
. "$(dirname "$0")/lib.sh"
e2e_begin curl lighttpd nc python3

leftovers()
{
	ls -d /run/dpdk/mtcpd-"$1"-* /dev/hugepages/*mtcpd* /dev/shm/*mtcp* "$T/d" 2>/dev/null | wc -l
}

cpu_ticks()
{
	awk '{ print $14 + $15 }' "/proc/$1/stat"
}

# Prints what comes to the manager's socket, a message a line.
spawn_manager()
{
	spawn manager python3 -u -c '
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
while True:
    print(s.recv(4096).decode(), flush=True)' "$T/notify"
	wait_until 5 test -S "$T/notify"
}

told()
{
	[ "$(grep -c "^$1\$" "$T/manager.log")" -ge "${2:-1}" ]
}

# spawn_stopper PID THREAD: stops this thread of the process, which as far as the others can tell is
# stuck, until the stopper ends.
spawn_stopper()
{
	spawn stopper python3 -u -c '
import ctypes, os, signal, sys
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
tasks = "/proc/%s/task/" % sys.argv[1]
names = {open(tasks + t + "/comm").read().strip(): int(t) for t in os.listdir(tasks)}
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
for request in PTRACE_SEIZE, PTRACE_INTERRUPT:
    if libc.ptrace(request, names[sys.argv[2]], None, None) != 0:
        sys.exit("ptrace: " + os.strerror(ctypes.get_errno()))
os.waitpid(names[sys.argv[2]], 0x40000000) # __WALL
print("stopped", flush=True)
signal.pause()' "$1" "$2"
	wait_until 5 grep -qs stopped "$T/stopper.log"
}

# How often the manager was told that all is well.
watchdogs()
{
	grep -c '^WATCHDOG=1$' "$T/manager.log"
}

# For 1.5 s, where it would be every 200 ms.
silent()
{
	local before

	before=$(watchdogs)
	sleep 1.5
	[ "$(watchdogs)" = "$before" ]
}

# A connection that the kernel's end will not close.
hold_connection()
{
	spawn_kernel holder bash -c "exec 3<>/dev/tcp/$MTCPD_IP/80; exec sleep 300"
	HOLDER=$LAST
	wait_until 5 held || fail "a connection is held"
}

held()
{
	[ "$(live_flows)" -gt 0 ]
}

# -- command line

daemon_conf good net_ring0 10.0.0.1/24
printf '[port]\ndevice = eth0\nmtu = 9\n' >"$T/bad.conf"
check "--version" grep -q '^mtcpd [0-9]' <("$BIN/mtcpd" --version)
check "--help lists every section" \
	[ "$("$BIN/mtcpd" --help | grep -c '^\[\(daemon\|port\|engine\|limits\|tcp\)\]$')" = 5 ]
check "--check-config accepts" "$BIN/mtcpd" --config "$T/good.conf" --check-config
"$BIN/mtcpd" --config "$T/bad.conf" --check-config 2>"$T/errors"
check_equal "--check-config refuses (status)" 1 $?
check_equal "each mistake with file and line" 2 "$(grep -c "^$T/bad.conf:[23]: \[port\]" "$T/errors")"
"$BIN/mtcpd" --nonsense 2>/dev/null
check_equal "unknown argument (status)" 2 $?

# -- a life under a manager

spawn_manager
export NOTIFY_SOCKET=$T/notify WATCHDOG_USEC=400000
daemon_veth
unset NOTIFY_SOCKET WATCHDOG_USEC
check "READY=1" wait_until 5 told READY=1
check "WATCHDOG=1 goes on while engines sleep" wait_until 5 told WATCHDOG=1 4
kill -HUP "$DAEMON_PID"
sleep 0.3
check "SIGHUP is survived" alive
in_ns "$M" "$BIN/mtcpd" --config "$T/d.conf" >"$T/second.log" 2>&1
check_equal "a second daemon on the same directory (status)" 1 $?
check "and why" grep -q "$T/d" "$T/second.log"
check "the first one goes on" ctl version

check "an engine is stopped" spawn_stopper "$DAEMON_PID" engine0
check "which the log tells" wait_until 5 grep -q 'engine 0 makes no progress' "$T/d.log"
check "no WATCHDOG=1 while an engine makes no progress" wait_until 5 silent
before=$(watchdogs)
stop "$LAST" KILL
check "WATCHDOG=1 again once it does" wait_until 5 told WATCHDOG=1 $((before + 3))

before=$(cpu_ticks "$DAEMON_PID")
sleep 3
after=$(cpu_ticks "$DAEMON_PID")
check_less "CPU when idle" 5 "$(((after - before) * 100 / 3 / $(getconf CLK_TCK)))" %

start_lighttpd
hold_connection
begin=$(now_ms)
stop "$DAEMON_PID"
check_equal "exit status on SIGTERM" 0 "$STATUS"
check_more "waits for what does not close (shutdown_timeout_s = 2)" 1900 $(($(now_ms) - begin)) ms
check "STOPPING=1" told STOPPING=1
check_equal "left behind after SIGTERM" 0 "$(leftovers "$DAEMON_PID")"
stop "$LIGHTTPD"
stop "$HOLDER" KILL

# -- hurried ends

sed -i 's/^shutdown_timeout_s.*/shutdown_timeout_s = 120/' "$T/d.conf"
daemon_start d
DAEMON_PID=$LAST
start_lighttpd
hold_connection
begin=$(now_ms)
stopping()
{
	[ "$(grep -c '>stopping: ' "$T/d.log")" = 2 ]
}
kill -INT "$DAEMON_PID"
wait_until 5 stopping
stop "$DAEMON_PID" INT
check_equal "exit status on a second SIGINT" 0 "$STATUS"
check_less "a second SIGINT does not wait for the time-out" 60000 $(($(now_ms) - begin)) ms
check_equal "left behind after SIGINT" 0 "$(leftovers "$DAEMON_PID")"
stop "$LIGHTTPD"
stop "$HOLDER" KILL

daemon_start d
DAEMON_PID=$LAST
stop "$DAEMON_PID" KILL
rm -rf "$T/d" # sockets and their directory are all that remains
check_equal "left behind by SIGKILL" 0 "$(leftovers "$DAEMON_PID")"
e2e_end
