"""The control socket: commands to a running appliance, one JSON line each, and the answers.

A Unix socket in the appliance's directory, for its owner alone (mode 0600).
"""

from __future__ import annotations

import json
import os
import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from nsdata.appliance.channel import Message
from nsdata.errors import EngineError, NsdataError

LARGEST = 1 << 20  # bytes of a command or an answer
CLIENTS = 16
CONNECT_S = 5.0


class Control:
    """The serving end. `command` makes the answer; its NsdataError becomes one."""

    def __init__(self, path: Path, command: Callable[[Message], Message]) -> None:
        self.path = path
        self._command = command
        self._clients: dict[int, tuple[socket.socket, bytearray]] = {}
        self._selector = selectors.DefaultSelector()
        if path.exists():
            if _alive(path):
                raise EngineError(
                    f"{path}: another appliance runs in this directory; stop it first "
                    f"(nsdata appliance stop {path.parent})"
                )
            path.unlink()
        self._end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            self._end.bind(str(path))
        except OSError as error:
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
        """Take what has come, and answer it. Never waits for a client."""
        for key, _ in self._selector.select(0):
            if key.fileobj is self._end:
                with suppress(BlockingIOError):
                    client, _ = self._end.accept()
                    client.setblocking(False)
                    if len(self._clients) >= CLIENTS:
                        client.close()
                        continue
                    self._clients[client.fileno()] = (client, bytearray())
                    self._selector.register(client, selectors.EVENT_READ)
            else:
                self._read(key.fd)

    def _read(self, number: int) -> None:
        client, text = self._clients[number]
        try:
            data = client.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        text += data
        if not data or len(text) > LARGEST:
            self._drop(number)
            return
        while (end := text.find(b"\n")) >= 0:
            line = bytes(text[:end])
            del text[: end + 1]
            answer = json.dumps(self._answer(line)).encode() + b"\n"
            try:
                client.setblocking(True)
                client.settimeout(0.2)  # the buffer holds most answers; nobody may hold this up
                client.sendall(answer)
                client.setblocking(False)
            except OSError:
                self._drop(number)
                return

    def _answer(self, line: bytes) -> Message:
        try:
            message = json.loads(line)
            if not isinstance(message, dict):
                raise ValueError("a command is a JSON object")
            return {"ok": True, **self._command(message)}
        except (ValueError, NsdataError) as error:
            return {"ok": False, "error": str(error)}

    def _drop(self, number: int) -> None:
        client, _ = self._clients.pop(number)
        self._selector.unregister(client)
        client.close()

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
            raise EngineError(
                f"{path}: no appliance answers: {error.strerror or error} "
                "(is it running? nsdata appliance run --config FILE)"
            ) from error
    if not text:
        raise EngineError(f"{path}: the appliance gave no answer; is it just ending?")
    answer: Message = json.loads(text)
    if not answer.pop("ok"):
        raise EngineError(answer["error"])
    return answer
