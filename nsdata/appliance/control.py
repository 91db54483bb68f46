"""The control socket: commands to a running appliance, one JSON line each, and the answers.

A Unix socket in the appliance's directory, for its owner alone (mode 0600).
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from nsdata.appliance.channel import Message
from nsdata.appliance.orphan import LOCK, holder
from nsdata.errors import EngineError, NsdataError

LARGEST = 1 << 20  # bytes of a command
CLIENTS = 16
IDLE_NS = 30_000_000_000  # without a byte taken from it or by it: let go of
BUDGET_NS = 20_000_000  # for all commands of one turn
CONNECT_S = 5.0


@dataclass(slots=True)
class _Client:
    """A client, with what it said and has not been answered, and what it has not taken yet."""

    end: socket.socket
    active_ns: int
    said: bytearray = field(default_factory=bytearray)
    owed: memoryview = field(default_factory=lambda: memoryview(b""))
    ended: bool = False  # it says no more

    @property
    def waits(self) -> bool:
        """For the answer to a whole line."""
        return not self.owed and b"\n" in self.said

    @property
    def done(self) -> bool:
        return self.ended and not self.owed and not self.waits


class Control:
    """The serving end. `command` makes the answer; its NsdataError becomes one.

    Nobody holds it up: a client has one command carried out a turn and the next only when it has
    taken the answer, and with CLIENTS of them the one that was idle longest makes room.
    """

    def __init__(self, path: Path, command: Callable[[Message], Message]) -> None:
        self.path = path
        self._command = command
        self._clients: dict[int, _Client] = {}
        if path.exists():
            if _alive(path):
                raise EngineError(
                    f"{path}: another appliance runs in this directory; stop it first "
                    f"(nsdata appliance stop {path.parent})"
                )
            path.unlink()
        self._selector = selectors.DefaultSelector()
        self._end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            self._end.bind(str(path))
        except OSError as error:
            self._end.close()
            self._selector.close()
            raise EngineError(f"{path}: no control socket: {error.strerror or error}") from error
        finally:
            os.umask(before)
        self._end.listen(CLIENTS)
        self._end.setblocking(False)
        self._selector.register(self._end, selectors.EVENT_READ)

    def fileno(self) -> int:
        """For selectors: readable when something is to be served."""
        return self._selector.fileno()

    def serve(self) -> None:
        """Take what has come, answer it, hand over what is taken. Never waits for a client."""
        limit = time.monotonic_ns() + BUDGET_NS
        ready = {key.fd: mask for key, mask in self._selector.select(0)}
        if ready.pop(self._end.fileno(), 0):
            self._accept()
        # Whoever was served longest ago comes first: those left out are at the next turn.
        served = sorted((number for number in ready if number in self._clients),
                        key=lambda number: self._clients[number].active_ns)  # fmt: skip
        for number in served:
            client = self._clients[number]
            try:
                if ready[number] & selectors.EVENT_READ:
                    self._read(client)
                self._hand_over(client)
                if client.waits and time.monotonic_ns() < limit:
                    self._answer_one(client)
            except OSError:
                client.ended, client.owed = True, memoryview(b"")
                client.said.clear()
            finally:
                self._see_to(number)

    def look(self, now: int) -> None:
        """Let go of clients that were idle too long."""
        for number, client in list(self._clients.items()):
            if now - client.active_ns > IDLE_NS:
                self._drop(number)

    def _accept(self) -> None:
        for _ in range(CLIENTS):
            try:
                end, _ = self._end.accept()
            except OSError:  # none is left, or no descriptor
                return
            end.setblocking(False)
            if len(self._clients) >= CLIENTS:
                self._drop(min(self._clients, key=lambda one: self._clients[one].active_ns))
            self._clients[end.fileno()] = _Client(end, time.monotonic_ns())
            self._selector.register(end, selectors.EVENT_READ)

    def _read(self, client: _Client) -> None:
        try:
            data = client.end.recv(65536)
        except BlockingIOError:
            return
        client.said += data
        client.active_ns = time.monotonic_ns()
        if not data:
            client.ended = True
        elif len(client.said) > LARGEST:
            client.ended = True
            client.said.clear()

    def _answer_one(self, client: _Client) -> None:
        line, _, rest = bytes(client.said).partition(b"\n")
        client.said[:] = rest
        client.active_ns = time.monotonic_ns()
        try:
            answer = self._answer(line)
        except Exception as error:  # the supervisor's to deal with; the client hears of it, too
            answer = {"ok": False, "error": f"this is a bug: {type(error).__name__}: {error}"}
            raise
        finally:
            client.owed = memoryview(json.dumps(answer).encode() + b"\n")
            self._hand_over(client)

    def _hand_over(self, client: _Client) -> None:
        if client.owed:
            with suppress(BlockingIOError):
                client.owed = client.owed[client.end.send(client.owed) :]
                client.active_ns = time.monotonic_ns()

    def _see_to(self, number: int) -> None:
        """What is waited for of this client: that it takes, that its turn comes, or that it says
        something."""
        client = self._clients[number]
        if client.done:
            self._drop(number)
            return
        waits = bool(client.owed) or client.waits
        self._selector.modify(
            client.end, selectors.EVENT_WRITE if waits else selectors.EVENT_READ
        )

    def _answer(self, line: bytes) -> Message:
        try:
            try:
                message = json.loads(line)
            except RecursionError:
                raise ValueError("nested too deeply") from None
            if not isinstance(message, dict):
                raise ValueError("a command is a JSON object")
            return {"ok": True, **self._command(message)}
        except (ValueError, NsdataError) as error:
            return {"ok": False, "error": str(error)}

    def _drop(self, number: int) -> None:
        client = self._clients.pop(number)
        self._selector.unregister(client.end)
        client.end.close()

    def close(self) -> None:
        """No more commands."""
        for number in list(self._clients):
            self._drop(number)
        self._selector.close()
        self._end.close()
        self.path.unlink(missing_ok=True)


def _alive(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
        try:
            end.connect(str(path))
        except OSError:
            return False
    return True


def ask(directory: str | os.PathLike[str], message: Message) -> Message:
    """The answer of the appliance that runs in `directory`. Raises EngineError."""
    path = Path(directory) / "control.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
        end.settimeout(CONNECT_S)
        try:
            end.connect(str(path))
            end.sendall(json.dumps(message).encode() + b"\n")
            text = b""
            while not text.endswith(b"\n"):
                data = end.recv(65536)
                if not data:
                    break
                text += data
        except OSError as error:
            port = holder(path.with_name(LOCK))
            alone = "" if port is None else f"; a port goes on alone (pid {port})"
            raise EngineError(
                f"{path}: no appliance answers: {error.strerror or error} "
                f"(is it running? nsdata appliance run --config FILE){alone}"
            ) from error
    if not text:
        raise EngineError(f"{path}: the appliance gave no answer; is it just ending?")
    answer: Message = json.loads(text)
    if not answer.pop("ok"):
        raise EngineError(answer["error"])
    return answer
