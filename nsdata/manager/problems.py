"""Errors as a client sees them: RFC 9457 problem details, everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

MEDIA_TYPE = "application/problem+json"
KINDS = {
    400: "bad-request",
    401: "not-authenticated",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    409: "conflict",
    413: "too-large",
    415: "unsupported-media-type",
    422: "invalid",
    429: "too-many-requests",
    500: "internal",
    503: "unavailable",
    507: "insufficient-storage",
}


class ProblemDetails(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(extra="allow")
    type: str = Field(description="A URN that names the kind of problem.")
    title: str
    status: int = Field(ge=400, le=599)
    detail: str = Field(description="What is wrong here, and what to do.")
    instance: str = Field(description="The path that was asked for.")


class Problem(Exception):
    """Ends a request with this problem. `kind` ends its URN; by default the status says it."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str = "",
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind or KINDS.get(status, "error")
        self.headers = dict(headers or {})
        self.more = more


def respond(problem: Problem, path: str) -> JSONResponse:
    """The answer."""
    told = {
        "type": f"urn:nsdata:problem:{problem.kind}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "instance": path[:500],
        **problem.more,
    }
    return JSONResponse(told, problem.status, problem.headers, media_type=MEDIA_TYPE)


def not_found(what: str) -> Problem:
    """There is none."""
    return Problem(404, f"there is no such {what}")
