"""A VLAN port and a GRE port in user space, for kernels without those modules.

`vlan10` is a TAP device: its Ethernet frames go out of DEVICE with an 802.1Q tag (VLAN 10),
and tagged frames come in. `gre1` is a TUN device: its IP packets go to the peer as GRE
(RFC 2784, no options). Run once on either side; ends on SIGINT.

Usage: office_ports.py DEVICE NUMBER   (NUMBER: 1 or 2, the last byte of this side's address)
"""

import fcntl
import os
import select
import signal
import socket
import struct
import sys
from contextlib import suppress

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_TAP, IFF_NO_PI = 1, 2, 0x1000
ETH_P_ALL, ETH_P_8021Q, ETH_P_IP, ETH_P_IPV6 = 0x0003, 0x8100, 0x0800, 0x86DD
SOL_PACKET, PACKET_AUXDATA = 263, 8
PACKET_OUTGOING = 4
VLAN = 10
GRE = 47


def tun(name: str, kind: int) -> int:
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), kind | IFF_NO_PI))
    return device


def untagged(wire: socket.socket) -> bytes:
    """The next frame of VLAN 10 without its tag, or nothing. The kernel strips the tag into
    ancillary data (tpacket_auxdata: status, len, snaplen, mac, net, tci, tpid)."""
    frame, control, _, address = wire.recvmsg(65536, socket.CMSG_SPACE(20))
    if address[2] == PACKET_OUTGOING:
        return b""
    for level, kind, data in control:
        if level == SOL_PACKET and kind == PACKET_AUXDATA:
            status, _, _, _, _, tci, _ = struct.unpack("IIIHHHH", data[:20])
            if status & 0x10 and tci & 0xFFF == VLAN:
                return frame
    if frame[12:16] == struct.pack("!HH", ETH_P_8021Q, VLAN):
        return frame[:12] + frame[16:]
    return b""


def main() -> None:
    device, number = sys.argv[1], int(sys.argv[2])
    tap, gre_tun = tun("vlan10", IFF_TAP), tun("gre1", IFF_TUN)
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    wire.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    wire.bind((device, ETH_P_ALL))
    gre = socket.socket(socket.AF_INET, socket.SOCK_RAW, GRE)
    gre.bind((f"10.20.0.{number}", 0))
    gre.connect((f"10.20.0.{3 - number}", 0))
    tag = struct.pack("!HH", ETH_P_8021Q, VLAN)
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    while True:
        ready, _, _ = select.select([tap, gre_tun, wire, gre], [], [])
        # Until both sides are up, a write or an ICMP error may fail: that packet is lost.
        if tap in ready:
            frame = os.read(tap, 65536)
            with suppress(OSError):
                wire.send(frame[:12] + tag + frame[12:])
        if wire in ready and (frame := untagged(wire)):
            with suppress(OSError):
                os.write(tap, frame)
        if gre_tun in ready:
            packet = os.read(gre_tun, 65536)
            kind = ETH_P_IP if packet[0] >> 4 == 4 else ETH_P_IPV6
            with suppress(OSError):
                gre.send(struct.pack("!HH", 0, kind) + packet)
        if gre in ready:
            with suppress(OSError):
                packet = gre.recv(65536)  # with the IP header, as raw sockets give it
                os.write(gre_tun, packet[(packet[0] & 15) * 4 + 4 :])


if __name__ == "__main__":
    main()
