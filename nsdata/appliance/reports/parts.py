"""What is in a support report, part by part. Each says what it is in one line; all is redacted."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sqlite3
import ssl
import stat
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

import nsdata
from nsdata.appliance.settings import ApplianceSettings
from nsdata.config.settings import settings_rows
from nsdata.errors import NsdataError
from nsdata.support.redact import Redactor, is_secret
from nsdata.toml_text import read_toml

STORE_BYTES = 4 << 20  # of each table's newest rows
ROWS = {"transitions": 5_000, "events": 10_000, "counters": 3_600}  # newest
LARGEST_SECRET = 4096  # bytes of a file that holds one
# Of EVE events: bytes of packets, which are only in a report when they are asked for.
BYTES_OF_PACKETS = frozenset(("payload", "payload_printable", "packet", "stream_data"))


@dataclass(frozen=True, slots=True)
class Data:
    """A part's bytes, and what the manifest says of it."""

    data: bytes
    more: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Context:
    """What parts are made from. running: the supervisor's answer to `support`."""

    directory: Path
    running: dict[str, Any]
    status: dict[str, Any]
    settings: ApplianceSettings | None  # of the file as it is now
    redactor: Redactor
    log_size: int
    eve_size: int
    packets: int | None  # a descriptor of a sample


Part = Callable[[Context], Data]


def parts(packets: bool) -> list[tuple[str, Part]]:
    """Name and maker of every part, in the order of the archive."""
    found: list[tuple[str, Part]] = [
        ("versions.json", versions), ("settings.json", settings), ("status.json", status),
        ("health.json", health), ("figures.json", figures), ("processes.json", processes),
        ("rules.json", rules), ("fpga.json", fpga), ("transitions.jsonl", transitions),
        ("events.jsonl", events), ("counters.jsonl", counters), ("appliance.log", log),
        ("eve.json", eve),
    ]  # fmt: skip
    return [*found, ("packets.pcap", sample)] if packets else found


def secrets_of(settings: list[dict[str, Any]], file: Path | None) -> Redactor:
    """A redactor that knows the secrets of settings, those in files they name included. file: of
    settings, as it is written."""
    redactor = Redactor()
    trees = list(settings)
    if file is not None:
        try:
            trees.append(read_toml(file.read_text(encoding="utf-8"), str(file))[0])
        except (OSError, UnicodeDecodeError, NsdataError):  # settings.json says so
            file = None
    base = file.parent if file is not None else Path()
    for tree in trees:
        redactor.learn(tree)
        redactor.add(_files(tree, base))
    return redactor


def _files(tree: Any, base: Path) -> Iterator[str]:
    """What small files hold that a key like `token-file` names."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            what, _, last = str(key).replace("-", "_").rpartition("_")
            if isinstance(value, str) and last == "file" and is_secret(what):
                try:
                    path = base / value
                    if path.stat().st_size <= LARGEST_SECRET:
                        yield path.read_text(encoding="utf-8").strip()
                except (OSError, UnicodeDecodeError):
                    continue
            else:
                yield from _files(value, base)


def _json(context: Context, value: Any, **more: Any) -> Data:
    text = json.dumps(context.redactor.tree(value), indent=1, default=str)
    return Data(text.encode("utf-8", "replace") + b"\n", more)


# --- the parts ----------------------------------------------------------------------------


def versions(context: Context) -> Data:
    """nsdata, Python, libraries, kernel."""
    libraries = {one.metadata["Name"]: one.version for one in metadata.distributions()}
    return _json(context, {
        "nsdata": nsdata.__version__,
        "python": sys.version,
        "libraries": dict(sorted(libraries.items(), key=lambda one: one[0].lower())),
        "c_libraries": {"openssl": ssl.OPENSSL_VERSION, "sqlite": sqlite3.sqlite_version,
                        "zlib": zlib.ZLIB_RUNTIME_VERSION, "libc": " ".join(platform.libc_ver())},
        "kernel": {"system": platform.system(), "release": platform.release(),
                   "version": platform.version(), "machine": platform.machine()},
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
    })  # fmt: skip


def settings(context: Context) -> Data:
    """As it runs with them; as the file has them now, defaults included."""
    told: dict[str, Any] = {"running": context.running["settings"]}
    if context.settings is not None:
        told["file"] = context.settings.model_dump(mode="json")
        told["options"] = [
            {"name": name, "value": text, "not_default": other}
            for name, text, other in settings_rows(context.settings.options)
        ]
    return _json(context, told)


def status(context: Context) -> Data:
    """State, reason, ledger, processes, as `status` says."""
    return _json(context, context.status)


def health(context: Context) -> Data:
    """The health score and its sensors."""
    return _json(context, context.status.get("health", {}))


def figures(context: Context) -> Data:
    """The counters of every process."""
    return _json(context, context.running["figures"])


def processes(context: Context) -> Data:
    """The processes of the appliance. No command lines, no environment: they may hold secrets."""
    box = psutil.Process(context.running["pid"])
    names = {one.get("pid"): name for name, one in context.status["processes"].items()}
    names[box.pid] = "supervisor"
    found = []
    for process in (box, *box.children(recursive=True)):
        try:
            with process.oneshot():
                times, memory = process.cpu_times(), process.memory_info()
                found.append({
                    "pid": process.pid, "name": names.get(process.pid, process.name()),
                    "status": process.status(), "nice": process.nice(),
                    "threads": process.num_threads(), "descriptors": process.num_fds(),
                    "user_s": times.user, "system_s": times.system, "rss_bytes": memory.rss,
                    "age_s": round(time.time() - process.create_time(), 3),
                })  # fmt: skip
        except psutil.Error:  # it has gone since
            continue
    disk = psutil.disk_usage(str(context.directory))
    return _json(context, {
        "processes": found,
        "load": os.getloadavg(),
        "disk": {"total_bytes": disk.total, "free_bytes": disk.free},
    })  # fmt: skip


def rules(context: Context) -> Data:
    """Which rules these are: files with size and SHA-256; how many are loaded and refused."""
    files = []
    for name in context.running["rules"]["files"]:
        one: dict[str, Any] = {"path": name}
        try:
            with open(name, "rb") as file:
                digest = hashlib.file_digest(file, "sha256")
                one |= {"size": file.tell(), "sha256": digest.hexdigest()}
        except OSError as error:
            one["error"] = error.strerror
        files.append(one)
    return _json(context, {**context.running["rules"], "files": files})


def fpga(context: Context) -> Data:
    """The block beside the worker: identity, registers, counters, errors; or that there is none."""
    return _json(context, context.running["fpga"] or {"note": "it runs without an FPGA"})


def transitions(context: Context) -> Data:
    """State and reason, with evidence, oldest first."""
    return _rows(context, "transitions", lambda row: {"wall_ns": row[0], **json.loads(row[1])},
                 "at_ns, told")  # fmt: skip


def events(context: Context) -> Data:
    """What changed no state, oldest first."""
    return _rows(context, "events", lambda row: {
        "wall_ns": row[0], "event": row[1], "subject": row[2], "evidence": json.loads(row[3]),
    }, "at_ns, kind, subject, evidence")  # fmt: skip


def counters(context: Context) -> Data:
    """The ledger, second by second, oldest first."""
    return _rows(context, "counters", lambda row: {
        "wall_ns": row[0], "state": row[1], "reason": row[2], "ledger": json.loads(row[3]),
    }, "at_ns, state, reason, ledger")  # fmt: skip


def _rows(
    context: Context, table: str, told: Callable[[Any], dict[str, Any]], columns: str
) -> Data:
    """The newest rows of a table; the store may be written to meanwhile."""
    path = context.directory / "appliance.db"
    query = f"SELECT {columns} FROM {table} ORDER BY id DESC LIMIT ?"
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)) as store:
        rows = store.execute(query, (ROWS[table],)).fetchall()
    lines: list[str] = []
    size = 0
    for row in rows:
        line = json.dumps(context.redactor.tree(told(row)), separators=(",", ":")) + "\n"
        if (size := size + len(line)) > STORE_BYTES:
            break
        lines.append(line)
    more = {"rows": len(lines), "cut": len(lines) < len(rows) or len(rows) == ROWS[table]}
    return Data("".join(reversed(lines)).encode("utf-8", "replace"), more)


def log(context: Context) -> Data:
    """The end of what its processes said."""
    if context.running["log"] is None:
        return Data(b"", {"note": "the log goes to standard error, and to no file"})
    lines, more = _tail(Path(context.running["log"]), context.log_size)
    return _lines(context.redactor.lines(lines), more)


def eve(context: Context) -> Data:
    """The end of the EVE file; bytes of packets are left out unless they were asked for, and with
    them what is no whole event: nobody can say where in it they are."""
    path = context.running["eve"]
    if path == "-":
        return Data(b"", {"note": "the EVE output is no file"})

    lines, more = _tail(Path(path), context.eve_size)
    found: list[str] = []
    dropped = 0
    for line in lines:
        try:
            event = json.loads(line)
            if not isinstance(event, dict):
                raise ValueError("no event")
            if context.packets is None:
                event = _without_bytes(event)
            found.append(json.dumps(context.redactor.tree(event), separators=(",", ":")))
        except (ValueError, RecursionError):
            if context.packets is None:
                dropped += 1
            else:
                found.append(context.redactor.text(line))
    return _lines(found, {**more, "dropped_lines": dropped})


def _without_bytes(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_bytes(v) for k, v in value.items() if k not in BYTES_OF_PACKETS}
    return [_without_bytes(one) for one in value] if isinstance(value, list) else value


def _tail(path: Path, size: int) -> tuple[list[str], dict[str, Any]]:
    """The last lines of a file, the first of them whole; what the manifest says of them. Raises
    OSError, also for a file of another kind: a pipe without a writer would never be opened."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{path} is no regular file")
        start = max(0, found.st_size - size)
        file.seek(start)
        data = file.read(size)
    if start:
        data = data.partition(b"\n")[2]
    # Only a line feed ends a line: str.splitlines would break a message at U+2028.
    lines = data.decode("utf-8", "replace").removesuffix("\n").split("\n") if data else []
    return lines, {"of_bytes": found.st_size, "cut": bool(start)}


def _lines(lines: list[str], more: dict[str, Any]) -> Data:
    text = "".join(line + "\n" for line in lines)
    return Data(text.encode("utf-8", "replace"), more)


def sample(context: Context) -> Data:
    """Packets, whole and as they came: nothing is redacted in them."""
    assert context.packets is not None
    size = os.fstat(context.packets).st_size
    return Data(os.pread(context.packets, size, 0), {"redacted": False})
