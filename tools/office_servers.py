"""The servers of the recording: HTTP, DNS, FTP, SSH's greeting, a shell over TCP, mail, a meter.

All listen on every address of their namespace, IPv4 and IPv6. They are small, but they are
servers: each answers what it is asked. Ends on SIGINT.
"""

import http.server
import signal
import socket
import socketserver
import struct
import threading
from contextlib import suppress

PAGE = b"<html><body><h1>Office intranet</h1><p>Nothing to see here.</p></body></html>\n"
REPORT = b"%PDF-1.4\n" + b"".join(
    b"%05d quarterly figures, line after line\n" % n for n in range(500)
)
ACCOUNTS = {"ada": "lovelace", "admin": "hunter2"}


class Web(http.server.BaseHTTPRequestHandler):
    """A page, a report, a login; everything else is 404."""

    protocol_version = "HTTP/1.1"
    server_version = "Apache/2.4.57 (Debian)"
    sys_version = ""

    def answer(self, status: int, body: bytes, kind: str = "text/html") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path in ("/", "/index.html"):
            self.answer(200, PAGE)
        elif self.path.startswith("/report.pdf"):
            self.answer(200, REPORT, "application/pdf")
        else:
            self.answer(404, b"not found\n", "text/plain")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(200, b"thanks\n", "text/plain")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Lines(socketserver.StreamRequestHandler):
    """A line-by-line server: greets, then answers each line until `reply` returns nothing."""

    disable_nagle_algorithm = True
    greeting = b""

    def reply(self, line: bytes) -> bytes:
        raise NotImplementedError

    def handle(self) -> None:
        with suppress(ConnectionError):  # a client that hangs up is no fault
            self.wfile.write(self.greeting)
            for line in self.rfile:
                answer = self.reply(line.strip())
                if not answer:
                    return
                self.wfile.write(answer)


class Ftp(Lines):
    greeting = b"220 files.office.example FTP server ready\r\n"
    user = ""

    def reply(self, line: bytes) -> bytes:
        verb, _, rest = line.decode(errors="replace").partition(" ")
        if verb == "USER":
            self.user = rest
            return f"331 Password required for {rest}\r\n".encode()
        if verb == "PASS":
            if ACCOUNTS.get(self.user) == rest:
                return f"230 User {self.user} logged in\r\n".encode()
            return b"530 Login incorrect\r\n"
        if verb == "QUIT":
            return b""
        return b"502 Command not implemented\r\n"


class Ssh(Lines):
    greeting = b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"

    def reply(self, line: bytes) -> bytes:
        return b"" if line.startswith(b"bye") else b"\x00\x00\x00\x0c\x0a\x15" + bytes(10)


class Shell(Lines):
    greeting = b"office login: "

    def reply(self, line: bytes) -> bytes:
        if line == b"exit":
            return b""
        if line == b"id":
            return b"uid=0(root) gid=0(root) groups=0(root)\r\n# "
        return b"# "


class Mail(Lines):
    greeting = b"220 mail.office.example ESMTP\r\n"
    in_data = False

    def reply(self, line: bytes) -> bytes:
        if self.in_data:
            self.in_data = line != b"."
            return b" " if self.in_data else b"250 queued\r\n"
        self.in_data = line == b"DATA"
        if line == b"QUIT":
            return b""
        return b"354 go ahead\r\n" if self.in_data else b"250 ok\r\n"


class Dns(socketserver.BaseRequestHandler):
    """Every name is 10.20.0.2 (RFC 1035), but names that end in .invalid do not exist."""

    def handle(self) -> None:
        query, sock = self.request
        question = query[12:]
        missing = b"\x07invalid\x00" in question
        header = query[:2] + struct.pack("!5H", 0x8183 if missing else 0x8180, 1, 1 - missing, 0, 0)
        answer = struct.pack("!HHHIH4B", 0xC00C, 1, 1, 60, 4, 10, 20, 0, 2)
        sock.sendto(header + question + (b"" if missing else answer), self.client_address)


class Meter(socketserver.BaseRequestHandler):
    """Takes readings and says nothing, as telemetry sinks do."""

    def handle(self) -> None:
        return


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, sock = self.request
        sock.sendto(data[:64], self.client_address)


class Tcp6(socketserver.ThreadingTCPServer):
    """IPv4 and IPv6 on one socket."""

    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


class Udp6(socketserver.UDPServer):
    address_family = socket.AF_INET6
    max_packet_size = 65536


def main() -> None:
    tcp = {80: Web, 8080: Web, 21: Ftp, 22: Ssh, 2323: Shell, 25: Mail}
    udp = {53: Dns, 7000: Echo, 8125: Meter}
    servers: list[socketserver.BaseServer] = [Tcp6(("::", p), h) for p, h in tcp.items()]
    servers += [Udp6(("::", p), h) for p, h in udp.items()]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        signal.pause()
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
