#!/bin/bash
# Off-path congestion control: an agent of another user is obeyed, done without when it stops,
# hangs or dies, and can do no harm.
. "$(dirname "$0")/lib.sh"
e2e_begin nc python3 setpriv

AGENT_USER=nobody
SEGMENTS=6 # fewer than the initial window: at once, and nobody else would choose it
WINDOW=$((SEGMENTS * 1448))

# Without any privilege, in the group that may attach: "${AS[@]}" USER COMMAND...
AS=(env PATH=/usr/bin:/bin setpriv --regid nogroup --clear-groups --no-new-privs
	--inh-caps=-all --reuid)

SOCKET= # of the agent, once there is a daemon

start_agent()
{
	spawn agent "${AS[@]}" $AGENT_USER "$BIN/mtcp-agent-aimd" "$SOCKET" $SEGMENTS
	AGENT=$LAST
	check "an agent of user $AGENT_USER attaches" wait_until 5 attached
}

attached()
{
	[ "$(ctl -j agent | jq '.[0].attached')" = true ]
}

not_attached()
{
	! attached
}

cwnd()
{
	ctl -j flow | jq '[.[] | select(.rport == 9000)][0].cwnd_bytes'
}

cwnd_is()
{
	[ "$(cwnd)" = "$1" ]
}

cwnd_is_not()
{
	[ "$(cwnd)" != "$1" ]
}

counter_is_more()
{
	[ "$(counter "$1")" -gt "$2" ]
}

# Takes a megabyte a second, so that a transfer lasts, until it is told to hurry; prints the digest of
# it all.
SLOW_SERVER='
import hashlib, os, socket, sys, time
l = socket.socket()
l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
l.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 60000)
l.bind(("0.0.0.0", 9000))
l.listen(8)
print("ready", flush=True)
while True:
	s, h = l.accept()[0], hashlib.sha256()
	while data := s.recv(20000):
		h.update(data)
		if not os.path.exists(sys.argv[1]):
			time.sleep(len(data) / 1e6)
	print(h.hexdigest(), flush=True)
	s.close()
'

server_ready()
{
	grep -q ready "$T/server.log"
}

# transfer_begin BYTES, transfer_end WHAT: a transfer from mtcpd, whole in spite of WHAT.
transfer_begin()
{
	rm -f "$T/hurry"
	head -c "$1" /dev/urandom >"$T/data"
	spawn_mtcp sender sh -c "exec nc -N $KERNEL_IP 9000 <$T/data"
	SENDER=$LAST
	wait_until 5 cwnd_is_not null
}

hurry()
{
	touch "$T/hurry"
}

arrived()
{
	grep -q "$(sha256sum <"$T/data" | cut -d' ' -f1)" "$T/server.log"
}

transfer_end()
{
	check "$1: the transfer is whole" wait_until 30 arrived
	stop "$SENDER"
	wait_until 5 no_flows
}

daemon_veth '[tcp]' 'congestion_agent = aimd' "congestion_agent_user = $AGENT_USER" \
	'congestion_control = agent'
SOCKET=$T/d/mtcpd-agent.sock
spawn_kernel server python3 -c "$SLOW_SERVER" "$T/hurry"
wait_until 5 server_ready

transfer_begin 10000000
check_equal "its name is the configured one" aimd "$(ctl -j flow | jq -r '.[0].cc')"
check "no agent: CUBIC chooses the window" cwnd_is_not $WINDOW
hurry
transfer_end "no agent"

start_agent
transfer_begin 100000000 # more than it takes meanwhile, however busy the machine
check "the agent's window is in force: $WINDOW" wait_until 5 cwnd_is $WINDOW
stop "$AGENT" KILL
check "killed: it is seen to be gone" wait_until 2 not_attached
check "killed: CUBIC goes on" wait_until 2 cwnd_is_not $WINDOW
start_agent
check "another one: its window is in force" wait_until 5 cwnd_is $WINDOW
FELL=$(counter tcp.agent_fallbacks)
kill -STOP "$AGENT"
check "hung: CUBIC goes on" wait_until 5 counter_is_more tcp.agent_fallbacks "$FELL"
kill -CONT "$AGENT"
check "no longer: its window is in force" wait_until 5 cwnd_is $WINDOW
hurry
transfer_end "killed and hung agents"
stop "$AGENT"
check "stopped: it is seen to be gone" wait_until 2 not_attached

REFUSED=$(counter ctl.agents_refused)
"${AS[@]}" daemon timeout 5 "$BIN/mtcp-agent-aimd" "$SOCKET" >>"$T/stranger.log" 2>&1
check_equal "a user who is not the agent's is refused" $((REFUSED + 1)) \
	"$(counter ctl.agents_refused)"

hostile()
{
	"${AS[@]}" $AGENT_USER timeout 60 python3 "$SRC/tests/e2e/agent_hostile.py" "$SOCKET" "$1"
}

transfer_begin 3000000
check_equal "garbage: all shut out" "37 of 37" "$(hostile garbage)"
check_more "garbage: counted" 37 "$(counter ctl.agent_malformed)"
check_equal "orders for nobody" sent "$(hostile strange)"
check_more "orders for nobody: counted" 1000 "$(counter engine.agent_orders_unknown)"
transfer_end "garbage"

for what in insane deaf; do
	spawn hostile "${AS[@]}" $AGENT_USER python3 "$SRC/tests/e2e/agent_hostile.py" "$SOCKET" $what
	HOSTILE=$LAST
	check "an agent that is $what attaches" wait_until 5 attached
	transfer_begin 2000000
	transfer_end "an agent that is $what"
	stop "$HOSTILE" KILL
	wait_until 5 not_attached
done
check_more "absurd orders: counted" 1 "$(counter tcp.agent_orders_clamped)"
check_more "late orders: counted" 1 "$(counter tcp.agent_orders_late)"
check "the daemon lives" alive
e2e_end
