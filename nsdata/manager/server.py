"""The running manager: people's listener in this process, agents' in one of its own."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from pathlib import Path

from nsdata.errors import NsdataError
from nsdata.manager.api.app import make_app
from nsdata.manager.ca import check_pair
from nsdata.manager.door import PEOPLE, Door, raise_descriptors
from nsdata.manager.intake import Intake
from nsdata.manager.listener import listen, make_server
from nsdata.manager.pages import mount
from nsdata.manager.service import Service

log = logging.getLogger(__name__)


class Manager:
    """The running manager. Raises NsdataError when it cannot listen."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._loop: asyncio.AbstractEventLoop | None = None
        self._error: NsdataError | None = None
        settings = service.settings
        lock = service.hold()
        raise_descriptors()
        self._people, self._agents = listen(settings.listen), listen(settings.agents)
        ports = [end.getsockname()[1] for end in (self._people, self._agents)]
        name = settings.names[0]
        host = f"[{name}]" if ":" in name else name
        service.url = f"https://{host}:{ports[0]}"
        service.enrolments.agents_url = f"https://{host}:{ports[1]}"
        own = service.authority.server(settings.names)
        people = own
        if settings.certificate and settings.key:
            people = Path(settings.certificate), Path(settings.key)
            check_pair(*people)
        plan = {
            "database": settings.database_url,
            "directory": str(service.directory),
            "certificate": str(own[0]),
            "key": str(own[1]),
            "socket": self._agents.fileno(),
            "reports": settings.report_limits,
        }
        service.intake = Intake(plan, (self._agents.fileno(), lock))
        service.intake.ended = self._lost
        service.intake.start()  # gets ready while we do
        try:
            pages = make_app(service)
            mount(pages)
            service.door = Door(self._people, PEOPLE, "people's")
            self._server = make_server(pages, *people, service.door)
        except BaseException:
            service.intake.stop()
            raise

    def run(self, ready: Callable[[], None] | None = None) -> None:
        """Until SIGTERM or Ctrl-C. `ready` is called when both listeners are open. Raises Held
        when another manager has taken the database."""
        assert self.service.intake is not None
        try:
            self.service.intake.wait()
            asyncio.run(self._serve(ready))
        finally:
            self.service.intake.stop()
            self.service.close()
        if self._error is not None:
            raise self._error

    async def _serve(self, ready: Callable[[], None] | None) -> None:
        self._loop = loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        serving = asyncio.create_task(self._server.serve())
        keeping = asyncio.create_task(self._keep())
        while not self._server.started and not serving.done():
            await asyncio.sleep(0.01)
        if self._error is not None:
            self.stop()
        if ready is not None:
            ready()
        try:
            await serving
        finally:
            keeping.cancel()

    async def _keep(self) -> None:
        """What is to be done now and then."""
        from nsdata.manager.upkeep import EVERY_S, tidy

        while True:
            try:
                await asyncio.to_thread(tidy, self.service.database)
                await asyncio.to_thread(self.service.reports.tidy)
            except Exception as error:
                log.error("upkeep: %s", error)
            await asyncio.sleep(EVERY_S)

    def _lost(self, error: NsdataError) -> None:
        self._error = error
        self.stop_from_outside()

    def stop_from_outside(self) -> None:
        """The same, from another thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.stop)

    def stop(self) -> None:
        """Answer what is under way, and end."""
        self._server.should_exit = True
