"""The app of agents' listener: reports in, commands out. Every request comes over a connection
whose certificate our CA has signed; whose it is says the certificate."""

from __future__ import annotations

import asyncio

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

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
from nsdata.manager.problems import Problem, respond


class AgentApi:
    """The two routes of one manager."""

    def __init__(self, ingest: Ingest, enrolments: Enrolments) -> None:
        self.ingest = ingest
        self.enrolments = enrolments

    async def reports(self, request: Request) -> Response:
        """A batch; answered when it is committed."""
        appliance_id, certificate, renew = _peer(request)
        try:
            batch = Batch.model_validate_json(await request.body())
        except ValidationError as error:
            raise Problem(422, _why(error)) from error
        future = self.ingest.submit(appliance_id, certificate, batch)
        answer = await asyncio.wrap_future(future)
        if renew:
            answer = answer.model_copy(update={"renew": True})
        return Response(answer.model_dump_json(), media_type="application/json")

    async def renew(self, request: Request) -> Response:
        """Another certificate, before the one that is shown runs out."""
        appliance_id, certificate, _ = _peer(request)
        try:
            wanted = RenewRequest.model_validate_json(await request.body())
        except ValidationError as error:
            raise Problem(422, _why(error)) from error
        made = await run_in_threadpool(
            self.enrolments.renew, appliance_id, certificate, wanted.csr
        )
        return Response(made, media_type="application/x-pem-file")


def _peer(request: Request) -> tuple[str, str, bool]:
    der = request.scope.get(PEER)
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


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return respond(Problem(error.status_code, str(error.detail)), request.url.path)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return respond(error, request.url.path)


def make_agent_app(ingest: Ingest, enrolments: Enrolments) -> Shield:
    """The app of one manager."""
    api = AgentApi(ingest, enrolments)
    return Shield(
        Starlette(
            routes=[
                Route(REPORTS_PATH, api.reports, methods=["POST"]),
                Route(RENEW_PATH, api.renew, methods=["POST"]),
            ],
            exception_handlers={HTTPException: _http, Problem: _problem},
        ),
        BODY_MOST,
    )
