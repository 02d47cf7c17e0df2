#!/usr/bin/env python3
"""A VLAN interface of the kernel's as the module 8021q makes it, for kernels that have none.

vlan_peer.py join LOWER ID NAME: makes the TAP NAME; what the kernel sends there leaves LOWER with
the tag of VLAN ID, and what comes there with it goes to NAME. Runs until it is killed.

vlan_peer.py send LOWER FRAME: sends a frame, in hexadecimal.
"""

import fcntl
import select
import socket
import struct
import sys

ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_AUXDATA = 8
TP_STATUS_VLAN_VALID = 1 << 4
TUNSETIFF = 0x400454CA
IFF_TAP_WITHOUT_HEADER = 0x0002 | 0x1000
PACKET_OUTGOING = 4
FRAME_MAX = 65536
TYPE_VLAN = b"\x81\x00"


def lower(name):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    sock.bind((name, ETH_P_ALL))
    return sock


def tap(name):
    tun = open("/dev/net/tun", "r+b", buffering=0)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP_WITHOUT_HEADER))
    return tun


def tag_of(ancillary):
    """What the tag said that the kernel has taken off; None: there was none."""
    for level, kind, data in ancillary:
        if level == SOL_PACKET and kind == PACKET_AUXDATA:
            status, tci = struct.unpack_from("I12xHH", data)[0], struct.unpack_from("H", data, 16)[0]
            return tci if status & TP_STATUS_VLAN_VALID else None
    return None


def receive(sock, ident):
    frame, ancillary, _, where = sock.recvmsg(FRAME_MAX, 64)
    tci = tag_of(ancillary)
    if where[2] == PACKET_OUTGOING:
        return None
    return frame if tci is not None and tci & 0xFFF == ident else None


def join(name, ident, upper):
    sock, tun = lower(name), tap(upper)
    tag = TYPE_VLAN + struct.pack("!H", ident)
    while True:
        for ready in select.select([sock, tun], [], [])[0]:
            if ready is sock:
                frame = receive(sock, ident)
                if frame:
                    tun.write(frame)
            else:
                frame = tun.read(FRAME_MAX)
                sock.send(frame[:12] + tag + frame[12:])


if __name__ == "__main__":
    if sys.argv[1] == "join":
        join(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        lower(sys.argv[2]).send(bytes.fromhex(sys.argv[3]))
