"""The app of agents' listener: reports in, commands out. Every request comes over a connection
whose certificate our CA has signed; whose it is says the certificate."""

from __future__ import annotations

import asyncio
from uuid import UUID

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from nsdata.appliance.protocol import (
    ARCHIVE_PATH,
    BODY_MOST,
    RENEW_PATH,
    REPORTS_PATH,
    Batch,
    PieceOf,
    Received,
    RenewRequest,
)
from nsdata.manager.api.shield import Shield
from nsdata.manager.ca import appliance_of
from nsdata.manager.problems import Problem, not_found, respond
from nsdata.manager.service import Service

PEER = "nsdata.peer"  # in the scope: the client's certificate (DER)


class AgentApi:
    """The routes of one manager."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def reports(self, request: Request) -> Response:
        """A batch; answered when it is committed."""
        appliance_id, certificate, renew = _peer(request)
        try:
            batch = Batch.model_validate_json(await request.body())
        except ValidationError as error:
            raise Problem(422, _why(error)) from error
        future = self.service.ingest.submit(appliance_id, certificate, batch)
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
            self.service.enrolments.renew, appliance_id, certificate, wanted.csr
        )
        return Response(made, media_type="application/x-pem-file")

    async def archive(self, request: Request) -> Response:
        """A piece of a support report's archive; DELETE: the rest of it does not come."""
        appliance_id, certificate, _ = _peer(request)
        reports, report_id = self.service.reports, _report(request)
        if request.method == "DELETE":
            await run_in_threadpool(reports.drop, appliance_id, certificate, report_id)
            return Response(status_code=204)
        try:
            of = PieceOf.model_validate(dict(request.query_params))
        except ValidationError as error:
            raise Problem(422, _why(error)) from error
        data = await request.body()
        received = await run_in_threadpool(
            reports.take, appliance_id, certificate, report_id, of, data
        )
        made = Received(received=received)
        return Response(made.model_dump_json(), media_type="application/json")


def _report(request: Request) -> UUID:
    try:
        return UUID(request.path_params["report_id"])
    except ValueError:
        raise not_found("support report of this appliance") from None


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


def make_agent_app(service: Service) -> Shield:
    """The app of one manager."""
    api = AgentApi(service)
    return Shield(
        Starlette(
            routes=[
                Route(REPORTS_PATH, api.reports, methods=["POST"]),
                Route(RENEW_PATH, api.renew, methods=["POST"]),
                Route(ARCHIVE_PATH, api.archive, methods=["PUT", "DELETE"]),
            ],
            exception_handlers={HTTPException: _http, Problem: _problem},
        ),
        BODY_MOST,
    )
