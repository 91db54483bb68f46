"""Where a process of an appliance begins.

    python -m nsdata.appliance ROLE JSON

JSON names the descriptors handed on (status page, channel, …) and the role's own settings.
"""

from __future__ import annotations

import json
import socket
import sys

from nsdata.appliance.channel import Channel
from nsdata.appliance.child import Child
from nsdata.appliance.memory import view
from nsdata.errors import NsdataError
from nsdata.path.status import StatusPage

ROLES = ("port", "worker", "writer", "agent")
EXIT_FAILED = 70  # sysexits: it could not go on, and said why


def main(arguments: list[str]) -> int:
    """Be the child that the arguments describe."""
    role, text = arguments
    plan = json.loads(text)
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
        elif role == "agent":
            from nsdata.appliance.agent import run
        else:
            raise SystemExit(f"nsdata: no role {role!r}; there are {', '.join(ROLES)}")
        run(child, plan)
    except NsdataError as error:
        child.tell("failed", why=str(error))
        print(f"nsdata {plan['name']}: {error}", file=sys.stderr)
        return EXIT_FAILED
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
