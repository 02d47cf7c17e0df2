"""What TCP_INFO says of the rate of delivery, for test_delivery.sh.

delivery.py serve ADDRESS PORT   reads all of a connection, and answers each byte that is a newline
delivery.py run ADDRESS PORT     lines of WHAT BYTES-A-SECOND APP-LIMITED, of one connection

What asks and answers is limited by the program, what streams is not; and then what was found out about
the path stays, however little is sent.
"""
import socket
import struct
import sys
import time

STREAM = 6 << 20
WHERE = (sys.argv[2], int(sys.argv[3]))


def serve():
    l = socket.create_server(WHERE)
    while True:
        s, _ = l.accept()
        while data := s.recv(65536):
            if answers := data.count(b"\n"):
                s.sendall(b"." * answers)
        s.close()


def tell(s, what):
    info = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 248)
    rate, = struct.unpack_from("Q", info, 160)
    print(what, rate, info[7] & 1, flush=True)


def ask(s, request):
    s.sendall(request + b"\n")
    s.recv(1, socket.MSG_WAITALL)


def run():
    s = socket.create_connection(WHERE)
    tell(s, "new")
    for _ in range(10):
        ask(s, b"x" * 99)
    tell(s, "requests")
    s.sendall(bytes(STREAM))
    tell(s, "stream")
    ask(s, b"")
    tell(s, "streamed")
    for _ in range(10):
        time.sleep(0.05)
        ask(s, b"x" * 99)
    tell(s, "afterwards")


{"serve": serve, "run": run}[sys.argv[1]]()
