"""Who may: every route says which role it needs, and is looked at before anything of the request
is read. A route that says nothing cannot be added.

    router = guarded_router("/users", "users")

    @router.get("", responses=problems(404))
    @needs(Role.ADMIN)
    def users(actor: Who, service: Service_) -> …
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from nsdata.errors import NsdataError
from nsdata.manager.accounts import unauthenticated
from nsdata.manager.audit import Actor, Role
from nsdata.manager.problems import MEDIA_TYPE, Problem, ProblemDetails
from nsdata.manager.service import Service

COOKIE = "__Host-nsdata"  # Secure, Path=/, no Domain: browsers insist
CSRF_HEADER = "X-CSRF-Token"
SAFE = ("GET", "HEAD", "OPTIONS")
OPEN = "open"  # to everybody
F = TypeVar("F", bound=Callable[..., Any])


def needs(role: Role) -> Callable[[F], F]:
    """This endpoint is for that role and those above it."""

    def mark(endpoint: F) -> F:
        endpoint.needs = role  # type: ignore[attr-defined]
        return endpoint

    return mark


def open_to_all(endpoint: F) -> F:
    """This endpoint asks nobody who they are."""
    endpoint.needs = OPEN  # type: ignore[attr-defined]
    return endpoint


def source_of(request: Request) -> str:
    """The address a request comes from. Headers of proxies are not believed."""
    return request.client.host if request.client else "unknown"


def service_of(request: Request) -> Service:
    """The manager that serves this request."""
    found: Service = request.app.state.service
    return found


def authenticate(request: Request) -> Actor:
    """Who asks: by bearer token, else by session, whose changes need its CSRF token; pages may
    send it as the header too. Raises Problem (401, 403)."""
    service, source = service_of(request), source_of(request)
    given = request.headers.get("authorization")
    if given is not None:
        scheme, _, token = given.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise unauthenticated("the Authorization header is not `Bearer TOKEN`")
        return service.accounts.by_token(token.strip(), source)
    cookie = request.cookies.get(COOKIE)
    if not cookie:
        raise unauthenticated("an API token (Authorization: Bearer …) or a session is needed")
    actor = service.accounts.by_session(cookie, source)
    if request.method not in SAFE:
        service.accounts.check_csrf(actor, request.headers.get(CSRF_HEADER, ""))
    return actor


def authorise(actor: Actor, role: Role) -> None:
    """Raises Problem (403) for who may not."""
    if not actor.role.includes(role):
        raise Problem(403, f"this needs the role {role}; {actor.name} is {actor.role}", kind="role")


class GuardedRoute(APIRoute):
    """A route that lets in whom it is for."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **more: Any) -> None:
        needed = getattr(endpoint, "needs", None)
        if needed is None:
            raise NsdataError(f"the route {path} does not say who may use it")
        if more.get("include_in_schema", True):
            more["openapi_extra"] = {"x-role": str(needed)}
            if needed != OPEN:
                more["openapi_extra"]["security"] = [{"token": []}, {"session": []}]
        super().__init__(path, endpoint, **more)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, behind the guard."""
        serve = super().get_route_handler()
        needed = self.endpoint.needs  # type: ignore[attr-defined]

        async def guarded(request: Request) -> Response:
            if needed != OPEN:
                actor = await run_in_threadpool(authenticate, request)
                authorise(actor, needed)
                request.state.actor = actor
            return await serve(request)

        return guarded


def _actor(request: Request) -> Actor:
    found: Actor = request.state.actor
    return found


Who = Annotated[Actor, Depends(_actor)]
TheService = Annotated[Service, Depends(service_of)]
Source = Annotated[str, Depends(source_of)]

TEXTS = {
    401: "Not authenticated.",
    403: "Not allowed.",
    404: "No such thing.",
    409: "Not in this state.",
    413: "Too large.",
    422: "Not valid.",
    429: "Too many tries.",
    500: "A fault of the manager.",
    503: "It cannot be stored now.",
}


def problems(*statuses: int, open_: bool = False) -> dict[int | str, dict[str, Any]]:
    """The documentation of problems: those every route may answer, and these."""
    always = (413, 422, 500, 503) if open_ else (401, 403, 413, 422, 500, 503)
    return {
        status: {
            "model": ProblemDetails,
            "description": TEXTS[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
        }
        for status in sorted({*always, *statuses})
    }


def guarded_router(prefix: str, tag: str) -> APIRouter:
    """A router whose routes say who may use them."""
    return APIRouter(prefix=prefix, tags=[tag], route_class=GuardedRoute)
