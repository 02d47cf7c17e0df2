"""agent_hostile.py SOCKET WHAT: an agent of congestion control that does not keep to the rules.

    garbage   packets of every wrong kind, each on a connection of its own; prints how many were
              answered by the end of it
    strange   orders for flows that do not exist, too many at a time
    insane    obeys the protocol, but its windows and rates are absurd, until it is killed
    deaf      attaches and reads nothing, until it is killed
"""

import random
import socket
import struct
import sys
import time

MAGIC, VERSION = 0x6D746361, 1
HELLO, REPORT, CLOSE, ORDER = 1, 2, 3, 4
REPORT_BYTES = 152


def hello(version=VERSION, magic=MAGIC):
    return struct.pack("=HHIIIII16s", HELLO, version, magic, 0, 0, 0, 0, b"")


def order(flow, seq=1, cwnd=100000, rate=0, kind=ORDER, flags=0, reserved=0):
    return struct.pack("=HHIQQII", kind, flags, seq, flow, rate, cwnd, reserved)


def connect(path, first=None):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(5)
    s.connect(path)
    s.send(hello() if first is None else first)
    return s


def attach(path):
    for _ in range(100):  # the one before may not be gone yet
        s = connect(path)
        try:
            if s.recv(65536):
                return s
        except ConnectionError:
            pass
        s.close()
        time.sleep(0.05)
    sys.exit("not let in")


def is_shut_out(s):
    try:
        while s.recv(65536):
            pass
    except ConnectionError:
        pass
    except TimeoutError:
        return False
    return True


def garbage(path):
    rng = random.Random(1)
    first = [b"x", hello(version=99), hello(magic=1), hello() + b"x", order(1), bytes(5000)]
    later = [
        hello(),
        order(0)[:-1],
        order(0) + b"x",
        order(0, kind=REPORT),
        order(0, kind=99),
        order(0, flags=0x8000),
        order(0, reserved=1),
        order(0xFF << 24),  # an engine that there is not
        order(1) + order(1, kind=0),
        order(1) * 65,
        bytes(100000),
    ] + [rng.randbytes(rng.randrange(1, 2100)) for _ in range(20)]
    shut = 0
    for packet in first:
        time.sleep(0.02)
        try:
            shut += is_shut_out(connect(path, packet))
        except ConnectionError:
            shut += 1
    for packet in later:
        s = attach(path)
        s.send(packet)
        shut += is_shut_out(s)
        s.close()
    print(shut, "of", len(first) + len(later))


def strange(path):
    s = attach(path)
    s.setblocking(True)
    for i in range(2000):
        s.send(b"".join(order(i << 32 | j) for j in range(64)))
    print("sent")
    time.sleep(0.5)


def insane(path):
    s = attach(path)
    s.settimeout(None)
    rng = random.Random(2)
    while packet := s.recv(65536):
        orders = []
        for at in range(0, len(packet), REPORT_BYTES):
            kind, _, seq, flow = struct.unpack_from("=HHIQ", packet, at)
            if kind != REPORT:
                continue
            orders.append(order(flow, seq + rng.choice((0, 0, 0, 1, -1)) & 0xFFFFFFFF,
                                rng.choice((0, 1, 1 << 31, (1 << 32) - 1, rng.getrandbits(32))),
                                rng.choice((0, 1 << 20, 1 << 63, (1 << 64) - 1)),
                                flags=rng.choice((0, 1))))
        if orders:
            s.send(b"".join(orders))


def deaf(path):
    s = attach(path)
    time.sleep(600)
    s.close()  # kept until now: nobody else holds it


if __name__ == "__main__":
    {"garbage": garbage, "strange": strange, "insane": insane, "deaf": deaf}[sys.argv[2]](sys.argv[1])
