#!/bin/bash
# The program that the README shows does what it says.
. "$(dirname "$0")/lib.sh"
e2e_begin cc nginx
awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' "$SRC/README.md" >"$T/fetch.c"
check "it is about 30 lines" test "$(wc -l <"$T/fetch.c")" -ge 25 -a "$(wc -l <"$T/fetch.c")" -le 45
check "it compiles" cc -Wall -Wextra -Werror -I "$SRC/libclient" -o "$T/fetch" "$T/fetch.c" \
	-L "$BUILD/lib" -Wl,-rpath,"$BUILD/lib" -lmtcp-client
daemon_veth
start_nginx
echo "a page of the kernel's nginx" >"$T/www/index.html"
MTCPD_SOCKET=$T/d/mtcpd.sock timeout 60 "$T/fetch" $KERNEL_IP >"$T/page"
check_equal "exit status" 0 $?
check_equal "its answer" "a page of the kernel's nginx" "$(tail -n 1 "$T/page")"
check_equal "connections that mtcpd opened" 1 "$(counter tcp.active_opens)"
MTCPD_SOCKET=$T/d/mtcpd.sock timeout 60 "$T/fetch" 10.77.0.1x
check_equal "exit status for a wrong argument" 2 $?
e2e_end
