"""The app of agents' listener: reports in, commands out. Every request comes over a connection
whose certificate our CA has signed; whose it is says the certificate.

Two routes and a thousand requests a second: it speaks ASGI itself, without a framework's layers.
"""

from __future__ import annotations

import asyncio

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from nsdata.appliance.protocol import (
    BODY_MOST,
    RENEW_PATH,
    REPORTS_PATH,
    Batch,
    RenewRequest,
)
from nsdata.manager.api.shield import Shield
from nsdata.manager.ca import appliance_of
from nsdata.manager.enrolment import Enrolments
from nsdata.manager.ingest import Ingest
from nsdata.manager.listener import PEER
from nsdata.manager.problems import Problem


class AgentApi:
    """The two routes of one manager."""

    def __init__(self, ingest: Ingest, enrolments: Enrolments) -> None:
        self.ingest = ingest
        self.enrolments = enrolments

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. Raises Problem."""
        if scope["type"] != "http":
            return
        routes = {REPORTS_PATH: self.reports, RENEW_PATH: self.renew}
        route = routes.get(scope["path"])
        if route is None:
            raise Problem(404, "Not Found")
        if scope["method"] != "POST":
            raise Problem(405, "Method Not Allowed", headers={"Allow": "POST"})
        try:
            kind, body = await route(scope, receive)
        except ClientDisconnect:
            return  # it says it again
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def reports(self, scope: Scope, receive: Receive) -> tuple[bytes, bytes]:
        """A batch; answered when it is committed."""
        appliance_id, certificate, renew = _peer(scope)
        try:
            batch = Batch.model_validate_json(await _body(receive))
        except ValidationError as error:
            raise Problem(422, _why(error)) from error
        future = self.ingest.submit(appliance_id, certificate, batch)
        answer = await asyncio.wrap_future(future)
        if renew:
            answer = answer.model_copy(update={"renew": True})
        return b"application/json", answer.model_dump_json().encode()

    async def renew(self, scope: Scope, receive: Receive) -> tuple[bytes, bytes]:
        """Another certificate, before the one that is shown runs out."""
        appliance_id, certificate, _ = _peer(scope)
        try:
            wanted = RenewRequest.model_validate_json(await _body(receive))
        except ValidationError as error:
            raise Problem(422, _why(error)) from error
        made = await run_in_threadpool(self.enrolments.renew, appliance_id, certificate, wanted.csr)
        return b"application/x-pem-file", made.encode()


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _peer(scope: Scope) -> tuple[str, str, bool]:
    der = scope.get(PEER)
    if not der:
        raise Problem(401, "a client certificate is needed")
    try:
        return appliance_of(der)
    except ValueError as error:
        raise Problem(401, f"the client certificate: {error}") from error


def _why(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5]
    )


def make_agent_app(ingest: Ingest, enrolments: Enrolments) -> Shield:
    """The app of one manager."""
    return Shield(AgentApi(ingest, enrolments), BODY_MOST)
