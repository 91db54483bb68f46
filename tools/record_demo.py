"""Record the project's own capture: real clients and servers in network namespaces.

Two namespaces, `office` and `dc` (data centre), joined by one veth pair that tcpdump watches
with full frames. All addresses live in these namespaces, which are removed at the end whatever
happens. Offloads are off, so the frames carry the checksums a wire would carry.

    office 10.20.0.1 fd20::1  ══ veth (MTU 1500) ══  dc 10.20.0.2 fd20::2
      ├ VLAN 10   10.21.0.1  (tools/office_ports.py: works without a kernel module)
      ├ GRE       10.22.0.1  (the same)
      └ VXLAN 42  10.23.0.1  (the kernel's)

What is said on it, and when, is tools/office_clients.py. Needs root, and the packages of the
group `record` in packages.txt (`make record` installs them).

Usage: python tools/record_demo.py OUT.pcap
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
NEEDED = ("ip", "ethtool", "tcpdump", "ping", "curl")
LONGEST_S = 180  # a recording that takes longer has gone wrong
SIDES = {  # last byte of every address, MAC
    "office": (1, "02:00:5e:10:00:01"),
    "dc": (2, "02:00:5e:10:00:02"),
}
OFFLOADS = ("rx", "tx", "sg", "tso", "gso", "gro", "lro", "rxvlan", "txvlan")


def run(*words: str, check: bool = True) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if check and done.returncode:
        sys.exit(f"record_demo: {' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")


class Side:
    """One namespace and its end of the wire."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.namespace = f"nsdata-{role}-{os.getpid()}"
        self.device = f"eth-{role}"
        self.number, self.mac = SIDES[role]
        self.peer_number = 3 - self.number

    def ip(self, *words: str) -> None:
        run("ip", "-n", self.namespace, *words)

    def inside(self, *words: str) -> list[str]:
        return ["ip", "netns", "exec", self.namespace, *words]

    def offloads_off(self, device: str) -> None:
        for feature in OFFLOADS:  # one at a time: a device refuses what it does not have
            run(*self.inside("ethtool", "-K", device, feature, "off"), check=False)

    def python(self, script: str, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.inside(sys.executable, str(TOOLS / script), *words))

    def configure(self) -> None:
        self.ip("link", "set", "lo", "up")
        self.ip("link", "set", self.device, "address", self.mac)
        self.offloads_off(self.device)
        self.ip("addr", "add", f"10.20.0.{self.number}/24", "dev", self.device)
        self.ip("addr", "add", f"fd20::{self.number}/64", "dev", self.device, "nodad")
        self.ip("link", "set", self.device, "up")

    def add_vxlan(self) -> None:
        self.ip(
            "link", "add", "vx42", "address", f"02:00:5e:42:00:0{self.number}", "type", "vxlan",
            "id", "42", "dev", self.device, "local", f"10.20.0.{self.number}",
            "remote", f"10.20.0.{self.peer_number}", "dstport", "4789",
        )  # fmt: skip
        self.offloads_off("vx42")
        self.ip("addr", "add", f"10.23.0.{self.number}/24", "dev", "vx42")
        self.ip("link", "set", "vx42", "addrgenmode", "none", "up")  # no IPv6 chatter

    def start_ports(self) -> subprocess.Popen[bytes]:
        """The VLAN and GRE ports: devices `vlan10` and `gre1`, configured here once they exist."""
        ports = self.python("office_ports.py", self.device, str(self.number))
        for device, address in (("vlan10", "10.21.0"), ("gre1", "10.22.0")):
            # Created by the process just started: wait for it.
            for _ in range(50):
                shown = subprocess.run(
                    ["ip", "-n", self.namespace, "link", "show", device], capture_output=True
                )
                if shown.returncode == 0:
                    break
                time.sleep(0.1)
            if device == "vlan10":
                self.ip("link", "set", device, "address", f"02:00:5e:10:10:0{self.number}")
            self.ip("addr", "add", f"{address}.{self.number}/24", "dev", device)
            self.ip("link", "set", device, "mtu", "1400", "addrgenmode", "none", "up")
        return ports


@contextmanager
def wire() -> Iterator[tuple[Side, Side]]:
    """The two namespaces joined by a veth pair; removed on the way out."""
    office, dc = Side("office"), Side("dc")
    try:
        for side in (office, dc):
            run("ip", "netns", "add", side.namespace)
        run(
            "ip", "link", "add", office.device, "netns", office.namespace, "type", "veth",
            "peer", "name", dc.device, "netns", dc.namespace,
        )  # fmt: skip
        for side in (office, dc):
            side.configure()
            side.add_vxlan()
        yield office, dc
    finally:
        for side in (office, dc):
            run("ip", "netns", "del", side.namespace, check=False)


@contextmanager
def running(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def record(out: Path) -> None:
    """Play the day at the office and write what the wire saw to `out` (pcap, µs)."""
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        capture = Path(scratch) / "office.pcap"
        office, dc = stack.enter_context(wire())
        for side in (office, dc):
            stack.enter_context(running(side.start_ports()))
        stack.enter_context(running(dc.python("office_servers.py")))
        time.sleep(2)  # IPv6 set-up chatter passes, the servers come to listen
        words = ("-i", office.device, "-s", "0", "-U", "-Z", "root", "-w", str(capture))
        tcpdump = subprocess.Popen(office.inside("tcpdump", "-n", "-q", "-B", "16384", *words))
        with running(tcpdump):
            time.sleep(1)
            clients = office.python("office_clients.py")
            if clients.wait(LONGEST_S):
                sys.exit("record_demo: the clients failed; nothing written")
            time.sleep(1)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(capture, out)


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    if os.geteuid():
        sys.exit("record_demo: network namespaces need root. Try: sudo make record")
    missing = [tool for tool in NEEDED if not shutil.which(tool)]
    if missing:
        sys.exit(f"record_demo: {', '.join(missing)} missing. Try: make record")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `finally` runs
    record(Path(sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
