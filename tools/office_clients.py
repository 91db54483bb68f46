"""The clients of the recording: an ordinary quarter of a minute, a burst, and calm again.

    0–18 s   calm, about 20 packets a second; among it what demo/demo.rules looks for
    18–28 s  a meter gone wild: 600 readings a second over UDP, 50 DNS queries a second
    28–48 s  calm, the ordinary things again

The schedule is fixed, so a new recording says the same things at the same times; ports, IDs
and sequence numbers are the kernel's. Each act is a function; what it is there for is its
docstring, and demo/README.md lists the rules that answer to it.
"""

import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable

DC, DC6 = "10.20.0.2", "fd20::2"
VIA_VLAN, VIA_GRE, VIA_VXLAN = "10.21.0.2", "10.22.0.2", "10.23.0.2"
BURST_AT_S, BURST_S, BURST_PPS, BURST_DNS_PPS = 18.0, 10.0, 600, 50


def curl(url: str, *words: str) -> None:
    command = ["curl", "-s", "-o", "/dev/null", "--max-time", "10", "--path-as-is", *words, url]
    subprocess.run(command, check=True)


def ping(*words: str) -> None:
    command = ["ping", "-q", "-n", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def talk(port: int, *lines: bytes, host: str = DC, pause_s: float = 0.03) -> None:
    """Connect, read the greeting, then say each line and read what comes back."""
    with socket.create_connection((host, port), timeout=10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.recv(4096)
        for line in lines:
            sock.sendall(line)
            sock.recv(4096)
            time.sleep(pause_s)


def dns(name: str, number: int = 1) -> None:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    question = struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0\0\x01\0\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.sendto(question, (DC, 53))
        sock.recv(512)


def udp(port: int, *payloads: bytes, ttl: int = 64) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        for payload in payloads:
            sock.sendto(payload, (DC, port))
            time.sleep(0.02)


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


# --- the acts ---------------------------------------------------------------------------


def greet() -> None:
    """ARP, neighbour discovery, ICMP and ICMPv6 echoes."""
    ping("-c", "3", "-i", "0.3", DC)
    ping("-6", "-c", "3", "-i", "0.3", DC6)


def browse() -> None:
    """Ordinary HTTP over IPv4 and IPv6."""
    curl(f"http://{DC}/index.html", "-A", "Mozilla/5.0 (office)")
    curl(f"http://[{DC6}]/", "-A", "Mozilla/5.0 (office)")


def look_up() -> None:
    """Two names that exist and one that does not."""
    dns("intranet.office.example", 11)
    dns("mail.office.example", 12)
    dns("gone.invalid", 13)


def download() -> None:
    """A report of 20 kB, in many segments."""
    curl(f"http://{DC}/report.pdf", "-A", "Mozilla/5.0 (office)")


def log_in_to_files() -> None:
    """FTP: a login that succeeds after USER admin."""
    talk(21, b"USER admin\r\n", b"PASS hunter2\r\n")


def guess_passwords() -> None:
    """FTP: six logins refused within three seconds."""
    for guess in (b"123456", b"password", b"letmein", b"qwerty", b"dragon", b"monkey"):
        talk(21, b"USER ada\r\n", b"PASS %s\r\n" % guess, pause_s=0.01)


def greet_ssh() -> None:
    """SSH: two versions are exchanged, then some binary."""
    talk(22, b"SSH-2.0-libssh_0.10.5\r\n", b"\x00\x00\x00\x0c\x0a\x15" + bytes(10) + b"\n")


def shell() -> None:
    """A root shell over TCP: the answer to `id` gives it away."""
    talk(2323, b"root\r\n", b"id\r\n")


def send_mail() -> None:
    """SMTP: a short letter."""
    letter = (b"EHLO desk", b"MAIL FROM:<ada@office.example>", b"RCPT TO:<bob@office.example>")
    talk(25, *(line + b"\r\n" for line in (*letter, b"DATA", b"Subject: hello", b".")))


def attack_web() -> None:
    """A path that climbs out of the web root, SQL in a parameter, a scanner's name."""
    curl(f"http://{DC}/cgi-bin/../../../../etc/passwd")
    curl(
        f"http://{DC}/item?id=1%27%20UNION%20SELECT%20password%20FROM%20users--", "-A", "nikto/2.5"
    )


def split_request() -> None:
    """A word that no single segment holds: `sec` and `ret-plan` travel apart."""
    with socket.create_connection((DC, 8080), timeout=10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in (
            b"GET /sec",
            b"ret-plan HTTP/1.1\r\nHost: intranet\r\n",
            b"Connection: close\r\n\r\n",
        ):
            sock.sendall(part)
            time.sleep(0.1)
        while sock.recv(4096):
            pass


def exfiltrate() -> None:
    """A POST that carries what must not leave; inline, a rule drops its flow."""
    curl(f"http://{DC}/upload", "-d", "card=4111-1111-1111-1111&name=ada")


def readings() -> None:
    """A small binary protocol: type, length, value. The last one lies about its length."""
    good = [struct.pack("!BH", 1, 8) + b"%08d" % n for n in range(3)]
    udp(7000, *good, struct.pack("!BH", 2, 4000) + b"overflow")


def in_fragments() -> None:
    """Datagrams longer than the wire takes, IPv4 and IPv6; one hides a word on the border."""
    ping("-c", "2", "-i", "0.3", "-s", "3000", DC)
    ping("-6", "-c", "2", "-i", "0.3", "-s", "3000", DC6)
    # 1480 bytes a fragment, 8 of them the UDP header: byte 1472 of the payload is on the border.
    udp(7000, b"f" * 1466 + b"smuggled-goods" + b"f" * 1000)


def in_vlan() -> None:
    """HTTP inside VLAN 10."""
    ping("-c", "2", "-i", "0.3", VIA_VLAN)
    curl(f"http://{VIA_VLAN}/index.html", "-A", "printer/1.0")


def in_tunnels() -> None:
    """The shell inside GRE, HTTP inside VXLAN."""
    talk(2323, b"operator\r\n", b"id\r\n", host=VIA_GRE)
    curl(f"http://{VIA_VXLAN}/secret-vxlan", "-A", "tenant/1.0")


def scan() -> None:
    """Twenty closed ports (SYN, RST), one Xmas packet, one datagram to a closed port."""
    for port in range(3300, 3320):
        with socket.socket() as sock:
            sock.settimeout(2)
            sock.connect_ex((DC, port))
        time.sleep(0.03)
    fields = struct.pack("!HHIIBBHHH", 40000, 3399, 1, 0, 5 << 4, 0x29, 1024, 0, 0)
    pseudo = socket.inet_aton("10.20.0.1") + socket.inet_aton(DC) + struct.pack("!BBH", 0, 6, 20)
    xmas = fields[:16] + struct.pack("!H", checksum(pseudo + fields)) + fields[18:]
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        raw.sendto(xmas, (DC, 0))
    udp(9, b"anybody there?")


def trace_route() -> None:
    """Datagrams with a TTL of one and two, as traceroute sends them."""
    udp(33434, b"probe 1", ttl=1)
    udp(33435, b"probe 2", ttl=2)


def go_wild() -> None:
    """The burst: a meter without a brake, and name queries beside it."""
    end = time.monotonic() + BURST_S

    def name_queries() -> None:
        number = 0
        while time.monotonic() < end:
            dns(f"host{number}.office.example", number)
            number += 1
            time.sleep(1 / BURST_DNS_PPS)

    asking = threading.Thread(target=name_queries)
    asking.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        start = time.monotonic()
        for number in range(int(BURST_S * BURST_PPS)):
            sock.sendto(b"meter.%03d.watts:%d|g" % (number % 64, number), (DC, 8125))
            wait = start + (number + 1) / BURST_PPS - time.monotonic()
            if wait > 0:
                time.sleep(wait)
    asking.join()


Act = Callable[[], None]
SCHEDULE: list[tuple[float, Act]] = [
    (0.0, greet), (2.0, browse), (2.5, look_up), (3.5, download), (4.5, log_in_to_files),
    (5.0, greet_ssh), (5.5, shell), (6.0, send_mail), (7.0, attack_web), (7.5, split_request),
    (8.2, exfiltrate), (8.8, readings), (9.5, in_fragments), (11.0, in_vlan), (12.0, in_tunnels),
    (13.0, scan), (14.5, guess_passwords), (15.5, trace_route),
    (BURST_AT_S, go_wild),
    (29.0, browse), (30.0, look_up), (31.0, greet_ssh), (32.0, greet), (35.0, browse),
    (36.0, shell), (37.0, attack_web), (38.0, look_up), (39.0, split_request), (40.0, exfiltrate),
    (41.0, log_in_to_files), (42.0, readings), (43.0, in_tunnels), (44.0, in_vlan),
    (45.0, browse), (46.0, send_mail), (47.0, greet),
]  # fmt: skip


def main() -> int:
    start = time.monotonic()
    for at_s, act in SCHEDULE:
        time.sleep(max(0.0, start + at_s - time.monotonic()))
        act()
    return 0


if __name__ == "__main__":
    sys.exit(main())
