"""What bind and listen say where several processes want one port, for test_ports.sh.

ports.py table A B      the transcript of many cases, without addresses: comparable
ports.py serve A B PEER two processes serve one port each on its own address, and one shared
ports.py child          one process: commands on stdin, a line of answer to each
"""
import errno
import socket
import subprocess
import sys
import threading

PORT = 7100
IP = {"any": "0.0.0.0"}


class Child:
    def __init__(self):
        self.p = subprocess.Popen([sys.executable, __file__, "child"] + sys.argv[2:4],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def do(self, command):
        self.p.stdin.write(command + "\n")
        self.p.stdin.flush()
        return self.p.stdout.readline().strip()

    def end(self):
        self.p.stdin.close()
        self.p.wait()


def serve(listener, text):
    while True:
        try:
            s, _ = listener.accept()
        except OSError:
            return
        s.sendall(text.encode())
        s.close()


def execute(socks, words):
    """bind NAME ADDRESS PORT [OPTION...] | listen NAME | close NAME | serve NAME | connect NAME ADDRESS"""
    op, name = words[0], words[1]
    if op == "bind":
        s = socks[name] = socket.socket()
        for option in words[4:]:
            s.setsockopt(socket.SOL_SOCKET, getattr(socket, option), 1)
        s.bind((IP[words[2]], int(words[3])))
    elif op == "listen":
        socks[name].listen(64)
    elif op == "serve":
        threading.Thread(target=serve, args=(socks[name], name), daemon=True).start()
    elif op == "connect":
        socks[name].connect((words[2], 9000))
        return " ".join(map(str, socks[name].getsockname()))
    elif op == "close":
        if name in socks:
            socks.pop(name).close()
    return "ok"


def child():
    socks = {}
    for line in sys.stdin:
        try:
            answer = execute(socks, line.split())
        except OSError as e:
            answer = errno.errorcode.get(e.errno, str(e))
        print(answer, flush=True)


ADDR, BOTH = "SO_REUSEADDR", "SO_REUSEADDR SO_REUSEPORT"
SHARE = "SO_REUSEPORT"
# Steps by the number of the process.
CASES = {
    "two addresses": [(0, "bind a A"), (1, "bind b B"), (0, "listen a"), (1, "listen b")],
    "one address": [(0, "bind a A"), (1, "bind b A")],
    "any behind one": [(0, "bind a A"), (1, "bind b any")],
    "one behind any": [(0, "bind a any"), (1, "bind b B")],
    "one lets": [(0, "bind a A", ADDR), (1, "bind b A")],
    "the other lets": [(0, "bind a A"), (1, "bind b A", ADDR)],
    "both let": [(0, "bind a A", ADDR), (1, "bind b A", ADDR), (0, "listen a"), (1, "listen b"),
                 (1, "bind c A", ADDR), (0, "close a"), (1, "listen b")],
    "both let, any": [(0, "bind a any", ADDR), (1, "bind b A", ADDR), (1, "listen b"),
                      (0, "listen a"), (1, "close b"), (0, "listen a")],
    "both share": [(0, "bind a A", SHARE), (1, "bind b A", SHARE), (0, "listen a"), (1, "listen b"),
                   (1, "bind c A", SHARE), (1, "listen c"), (1, "bind d A"), (1, "bind e A", ADDR)],
    "one shares": [(0, "bind a A", SHARE), (1, "bind b A")],
    "one shares, one lets": [(0, "bind a A", SHARE), (1, "bind b A", ADDR)],
    "one does both": [(0, "bind a A", BOTH), (1, "bind b A", ADDR), (0, "listen a"), (1, "listen b")],
    "both share, any": [(0, "bind a any", SHARE), (1, "bind b B", SHARE), (0, "listen a"),
                        (1, "listen b")],
    "given back": [(0, "bind a A"), (0, "close a"), (1, "bind b any"), (1, "listen b"),
                   (1, "close b"), (0, "bind c A"), (0, "listen c")],
    "one process": [(0, "bind a A"), (0, "bind b B"), (0, "bind c any"), (0, "listen a"),
                    (0, "listen b")],
}


def step(children, port, number, command, options=""):
    words = command.split()
    if words[0] == "bind":
        command += " %d %s" % (port, options)
    return children[number].do(command)


def table():
    children = [Child(), Child()]
    for i, (case, steps) in enumerate(CASES.items()):
        open_names = []
        for s in steps:
            answer = step(children, PORT + i, *s)
            print("%s: %d %s: %s" % (case, s[0], " ".join(s[1:]), answer))
            if s[1].startswith("bind") and answer == "ok":
                open_names.append((s[0], s[1].split()[1]))
        for number, name in open_names:
            children[number].do("close " + name)
    for c in children:
        c.end()


def stay(peer):
    children = [Child(), Child()]
    for number, command, *options in [
            (0, "bind first A 7001"), (0, "listen first"), (0, "serve first"),
            (1, "bind second B 7001"), (1, "listen second"), (1, "serve second"),
            (0, "bind left A 7002 SO_REUSEPORT"), (0, "listen left"), (0, "serve left"),
            (1, "bind right A 7002 SO_REUSEPORT"), (1, "listen right"), (1, "serve right"),
            (0, "bind out A 7003"), (1, "bind away B 7003"),
            (0, "connect out " + peer), (1, "connect away " + peer)]:
        print(command + ": " + children[number].do(command), flush=True)
    print("ready", flush=True)
    threading.Event().wait()


if len(sys.argv) > 3:
    IP["A"], IP["B"] = sys.argv[2:4]
{"table": table, "serve": lambda: stay(sys.argv[4]), "child": child}[sys.argv[1]]()
