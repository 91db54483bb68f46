"""Where a process of an appliance begins.

    python -m nsdata.appliance ROLE JSON

JSON names the descriptors handed on (status page, channel, …) and the role's own settings.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
from typing import Any

from nsdata.appliance.channel import Channel
from nsdata.appliance.child import Child
from nsdata.appliance.log import logging_as
from nsdata.appliance.memory import view
from nsdata.errors import NsdataError
from nsdata.path.status import StatusPage

ROLES = ("port", "worker", "writer", "report", "reporter", "agent")
EXIT_FAILED = 70  # sysexits: it could not go on, and said why


def main(arguments: list[str]) -> int:
    """Be the child that the arguments describe."""
    role, text = arguments
    plan = json.loads(text)
    try:
        with logging_as(plan["name"], plan["log"]):
            return be(role, plan)
    except OSError as error:
        print(f"nsdata {plan['name']}: no log: {error}", file=sys.stderr)
        return EXIT_FAILED


def be(role: str, plan: dict[str, Any]) -> int:
    """Be the child in this role, until it ends; the exit status."""
    child = Child(
        plan["name"],
        StatusPage(view(plan["page"])),
        Channel(socket.socket(fileno=plan["channel"])),
    )
    try:
        if role == "port":
            from nsdata.appliance.port import run
        elif role == "worker":
            from nsdata.appliance.worker import run
        elif role == "writer":
            from nsdata.appliance.writer import run
        elif role == "report":
            from nsdata.appliance.reports.maker import run
        elif role == "reporter":
            from nsdata.appliance.monitoring.reporter import run
        elif role == "agent":
            from nsdata.appliance.agent.agent import run
        else:
            raise SystemExit(f"nsdata: no role {role!r}; there are {', '.join(ROLES)}")
        run(child, plan)
    except NsdataError as error:
        child.tell("failed", why=str(error))
        logging.error("%s", error, extra={"event": "failed"})
        return EXIT_FAILED
    except Exception as error:
        logging.critical("%s", error, exc_info=True, extra={"event": "uncaught"})
        return EXIT_FAILED
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
