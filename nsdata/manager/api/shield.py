"""Around every request: a bounded body, headers that tell browsers what is not allowed, and a
problem document for whatever goes wrong, also outside a route."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nsdata.manager.database import said
from nsdata.manager.problems import Problem, respond

HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        b"connect-src 'self'; font-src 'self'; manifest-src 'self'; form-action 'self'; "
        b"base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]
log = logging.getLogger(__name__)


class Shield:
    """ASGI middleware, the outermost. `most`: bytes of a body."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app = app
        self.most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        seen, begun, refused = 0, False, False

        async def bounded() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.most:
                raise _too_large(self.most)
            return message

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            if seen > self.most and not refused:
                return  # what the app makes of half a body
            if message["type"] == "http.response.start":
                begun = True
                headers = list(message.get("headers", []))
                have = {name.lower() for name, _ in headers}
                headers += [one for one in HEADERS if one[0] not in have]
                if b"cache-control" not in have:
                    headers.append((b"cache-control", b"no-store"))
                message["headers"] = headers
            await send(message)

        try:
            for name, value in scope["headers"]:
                if name == b"content-length" and int(value) > self.most:
                    raise _too_large(self.most)
            await self.app(scope, bounded, with_headers)
            if seen > self.most:
                raise _too_large(self.most)
        except Problem as problem:
            if begun:
                raise
            refused = True
            await respond(problem, scope["path"])(scope, receive, with_headers)
        except Exception as error:
            if begun:
                raise
            await respond(of_exception(error), scope["path"])(scope, receive, with_headers)


def _too_large(most: int) -> Problem:
    return Problem(
        413, f"a body of at most {most:,} bytes is taken", headers={"Connection": "close"}
    )


def of_exception(error: Exception) -> Problem:
    """What nobody expected, as a problem; the log says more."""
    if isinstance(error, DBAPIError | SQLAlchemyError):
        log.error("database: %s", said(error))
        return Problem(
            503, f"the database does not do it: {said(error)}", headers={"Retry-After": "1"}
        )
    log.error("unexpected", exc_info=error)
    return Problem(500, "a fault of the manager; its log says more")


def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return respond(error, request.url.path)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = 422 if error.status_code == 400 else error.status_code  # a body that is no JSON
    return respond(Problem(status, str(error.detail), headers=error.headers), request.url.path)


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [
        {"in": ".".join(str(part) for part in one["loc"]), "why": one["msg"]}
        for one in error.errors()
    ]
    detail = "; ".join(f"{one['in']}: {one['why']}" for one in errors[:5])
    return respond(Problem(422, detail, errors=errors[:50]), request.url.path)


def _database(request: Request, error: Exception) -> Response:
    return respond(of_exception(error), request.url.path)


def shield(app: FastAPI, most: int) -> None:
    """Set all of this up for an app."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(SQLAlchemyError, _database)
    app.add_middleware(Shield, most=most)
