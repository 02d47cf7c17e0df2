"""TCP_NOTSENT_LOWAT as a program sees it, for test_lowat.sh.

lowat.py serve ADDRESS PORT   takes connections, and reads as many bytes of each as another asks for
lowat.py run ADDRESS PORT     a transcript that is the same whose sockets ever these are

How much is unsent when a writer has to wait is not: Linux looks before each buffer of up to 64 KiB, and
for poll at half of the mark, where both wake who waits. So bounds are asserted, and only of what no
timing changes.
"""
import fcntl
import select
import socket
import struct
import sys
import termios
import time

TCP_NOTSENT_LOWAT, SIOCOUTQNSD = 25, 0x894B
LOWAT = 64 << 10
MOST = LOWAT + (64 << 10)  # and what Linux puts into one buffer
STREAM = 4 << 20
PIECE = bytes(4096)
PATIENCE_S = 20
WHERE = (sys.argv[2], int(sys.argv[3]))
CONTROL = (sys.argv[2], int(sys.argv[3]) + 1)


def listener(where):
    l = socket.socket()
    l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    l.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
    l.bind(where)
    l.listen(4)
    return l


def serve():
    data, control = listener(WHERE), listener(CONTROL)
    while True:
        s, _ = data.accept()
        c, _ = control.accept()
        for line in c.makefile():
            left = int(line)
            while left:
                left -= len(s.recv(min(left, 65536))) or left
            c.sendall(b"r")
        s.close()
        c.close()


def queued(s, what):
    return struct.unpack("i", fcntl.ioctl(s, what, bytes(4)))[0]


def unsent(s):
    return queued(s, SIOCOUTQNSD)


def writable(s, ms):
    p = select.poll()
    p.register(s, select.POLLOUT)
    return any(e & select.POLLOUT for _, e in p.poll(ms))


def say(what, *facts):
    print(what + ":", *facts, flush=True)


class Pair:
    def __init__(self, lowat):
        self.s = socket.socket()
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        if lowat:
            self.s.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, lowat)
        self.s.connect(WHERE)
        self.s.setblocking(False)
        self.c = socket.create_connection(CONTROL)
        self.sent = 0
        self.most = 0  # that was unsent
        self.most_writable = 0  # when poll had said writable

    def write(self):
        try:
            n = self.s.send(PIECE)
        except BlockingIOError:
            return 0
        self.sent += n
        self.most = max(self.most, unsent(self.s))
        return n

    def writable(self, ms=0):
        """Less may be unsent than when poll said so, but not more."""
        yes = writable(self.s, ms)
        if yes:
            self.most_writable = max(self.most_writable, unsent(self.s))
        return yes

    def fill(self, waits):
        """Until nothing goes any more and nothing moves, which is when the window is full."""
        before = None
        while True:
            if waits and self.writable(300) or not waits:
                if self.write():
                    before = None
                    continue
            if not waits:
                time.sleep(0.3)
            now = unsent(self.s)
            if now == before:
                return now
            before = now

    def read_by_peer(self, n):
        self.c.sendall(b"%d\n" % n)

    def is_read(self):
        self.c.settimeout(PATIENCE_S)
        return self.c.recv(1) == b"r"

    def read_all(self):
        """Whether the peer has got all, and all of it is acknowledged."""
        self.read_by_peer(self.sent)
        ok = self.is_read()
        end = time.monotonic() + PATIENCE_S
        while queued(self.s, termios.TIOCOUTQ) and time.monotonic() < end:
            time.sleep(0.01)
        self.sent = 0
        return ok and not queued(self.s, termios.TIOCOUTQ) and not unsent(self.s)

    def end(self):
        self.s.close()
        self.c.close()


def by_poll():
    p = Pair(LOWAT)
    say("fresh", p.writable(), unsent(p.s), queued(p.s, termios.TIOCOUTQ))
    left = p.fill(waits=True)
    say("poll: who waits is woken at half", LOWAT // 2 <= left)
    say("poll: never with so much unsent", p.most_writable < LOWAT)
    say("poll: no more is unsent", p.most <= MOST)
    say("poll: unsent is part of queued", 0 < left <= queued(p.s, termios.TIOCOUTQ) <= p.sent)
    say("poll: all of it is read", p.read_all(), p.writable(PATIENCE_S * 1000))
    p.end()


def by_write():
    p = Pair(LOWAT)
    left = p.fill(waits=False)
    say("write: takes up to half at least", LOWAT // 2 <= left)
    say("write: no more is unsent", p.most <= MOST)
    say("write: then poll says no", not p.writable(300))
    say("write: all of it is read", p.read_all(), p.writable(PATIENCE_S * 1000), p.write())
    p.end()


def by_edge():
    p = Pair(LOWAT)
    e = select.epoll()
    e.register(p.s, select.EPOLLOUT | select.EPOLLET)
    say("edge: first", len(e.poll(PATIENCE_S)))
    p.fill(waits=False)
    e.poll(0)
    p.write()
    say("edge: none while it is full", len(e.poll(0.3)))
    p.read_by_peer(p.sent)
    say("edge: one when it is not", len(e.poll(PATIENCE_S)), p.is_read())
    p.end()


def lowered():
    p = Pair(0)
    p.fill(waits=True)
    say("without: more is unsent", unsent(p.s) > MOST)
    p.s.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, LOWAT)
    say("lowered: poll says no", not p.writable(), not p.writable(300))
    before = p.sent
    while p.write():
        pass
    say("lowered: what is begun may be filled, no more", p.sent - before <= MOST - LOWAT)
    say("lowered: all of it is read", p.read_all(), p.writable(PATIENCE_S * 1000))
    p.end()


def stream(waits):
    """The peer reads all the time: all arrives, and no more is unsent for it."""
    p = Pair(LOWAT)
    p.read_by_peer(STREAM)
    end = time.monotonic() + PATIENCE_S
    while waits and p.sent < STREAM and time.monotonic() < end:
        if p.writable(1000):
            p.write()
    if not waits:
        p.s.settimeout(PATIENCE_S)
        p.s.sendall(bytes(STREAM))
    say("stream: arrives", p.is_read())
    if waits:
        say("stream: never with so much unsent", p.most_writable < LOWAT, p.most <= MOST)
    p.end()


def of_listener():
    l = socket.socket()
    l.bind(("0.0.0.0", 0))
    l.listen(1)
    try:
        say("listener", unsent(l))
    except OSError as e:
        say("listener", e.errno)


def run():
    by_poll()
    by_write()
    by_edge()
    lowered()
    stream(waits=True)
    stream(waits=False)
    of_listener()


{"serve": serve, "run": run}[sys.argv[1]]()
