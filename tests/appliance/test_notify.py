"""Signs of life to systemd: datagrams as sd_notify sends them."""

import socket
from pathlib import Path

from nsdata.appliance.systemd import Notify


def test_a_watchdog_hears_three_times_in_its_time(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.setblocking(False)
        notify = Notify({"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "6000000"})
        assert notify.interval_ns == 2_000_000_000
        notify.tell("READY=1")
        for now in (0, 1_999_999_999, 2_000_000_000, 3_000_000_000):
            notify.alive(now)
        heard = [systemd.recv(100) for _ in range(3)]
        assert heard == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
        notify.close()
        notify.tell("STOPPING=1")


def test_a_name_without_a_file() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0nsdata-notify-test")
        notify = Notify({"NOTIFY_SOCKET": "@nsdata-notify-test"})
        notify.tell("READY=1")
        notify.alive(10**12)  # no watchdog was asked for
        assert systemd.recv(100) == b"READY=1"
        notify.close()


def test_nobody_listens(tmp_path: Path) -> None:
    Notify({}).tell("READY=1")
    gone = Notify({"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "1000"})
    gone.tell("READY=1")
    gone.alive(0)
    gone.close()
