"""Who may see a page: as `nsdata.manager.api.guard`, for browsers.

A page is for who has a session; nobody else is sent to sign in. A form carries the CSRF token of
the session, or, before there is one, that of a cookie of its own. What goes wrong is a page.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from nsdata.errors import NsdataError
from nsdata.manager import secrets
from nsdata.manager.accounts import unauthenticated
from nsdata.manager.api.guard import (
    COOKIE,
    CSRF_HEADER,
    OPEN,
    SAFE,
    authorise,
    service_of,
    source_of,
)
from nsdata.manager.api.shield import of_exception
from nsdata.manager.audit import Actor
from nsdata.manager.pages.render import page
from nsdata.manager.pages.visit import FORM_COOKIE, Fields, actor_of, local, of_htmx, see
from nsdata.manager.problems import Problem

FIELDS = 50  # of a form
ACTED_HEADER = "X-Acted"  # a part asks again, and since it last did somebody was at the page
FORM_TYPE = "application/x-www-form-urlencoded"


async def _fields(request: Request) -> Fields:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await request.body()
    if body and kind != FORM_TYPE:
        raise Problem(415, f"a form is sent as {FORM_TYPE}")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FIELDS,
                              strict_parsing=bool(body), errors="strict"))  # fmt: skip
    except ValueError as error:
        raise Problem(422, f"the form cannot be read: {error}") from error


def _check_csrf(request: Request, actor: Actor | None, fields: Fields) -> None:
    given = fields.pop("csrf", "") or request.headers.get(CSRF_HEADER, "")
    if actor is not None:
        service_of(request).accounts.check_csrf(actor, given)
        return
    kept = request.cookies.get(FORM_COOKIE, "")
    if not kept or not secrets.same(kept, given):
        raise Problem(403, "this form is not from a page of this manager, or too old: load the "
                      "page again", kind="csrf")  # fmt: skip


def _who(request: Request) -> Actor:
    cookie = request.cookies.get(COOKIE)
    if not cookie:
        raise unauthenticated("you are not signed in")
    by_itself = "seen" in request.query_params and ACTED_HEADER not in request.headers
    return service_of(request).accounts.by_session(
        cookie, source_of(request), by_itself=by_itself
    )  # fmt: skip


def know(request: Request) -> Problem | None:
    """Note who asks, if anybody has signed in; else why not."""
    try:
        request.state.actor = _who(request)
    except Problem as problem:
        if problem.status != 401:
            raise
        return problem
    return None


def sign_in_first(request: Request) -> Response:
    """To the page that asks who you are, and back."""
    if of_htmx(request):
        current = urlsplit(request.headers.get("hx-current-url", ""))
        back = local(f"{current.path}?{current.query}" if current.query else current.path)
        target = "/login?" + urlencode({"next": back})
        return Response(status_code=401, headers={"HX-Redirect": target})
    back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    wanted = {"next": local(back)} if request.method in SAFE and back != "/" else {}
    return see("/login" + (f"?{urlencode(wanted)}" if wanted else ""))


class PageRoute(APIRoute):
    """A page that lets in whom it is for."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, behind the guard."""
        serve = super().get_route_handler()
        needed = getattr(self.endpoint, "needs", None)
        if needed is None:
            raise NsdataError(f"the page {self.path} does not say who may see it")

        async def guarded(request: Request) -> Response:
            try:
                unknown = await run_in_threadpool(know, request)
                if unknown is not None and needed != OPEN:
                    return sign_in_first(request)
                if needed != OPEN:
                    authorise(request.state.actor, needed)
                if request.method not in SAFE:
                    fields = await _fields(request)
                    _check_csrf(request, actor_of(request), fields)
                    request.state.fields = fields
                return await serve(request)
            except Exception as error:
                return await run_in_threadpool(troubled, request, as_problem(error))

        return guarded


def as_problem(error: Exception) -> Problem:
    """Whatever went wrong."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return Problem(422, "; ".join(f"{one['loc'][-1]}: {one['msg']}"
                                      for one in error.errors()[:5]))  # fmt: skip
    if isinstance(error, HTTPException):
        return Problem(error.status_code, str(error.detail), headers=error.headers)
    return of_exception(error)


def troubled(request: Request, problem: Problem) -> Response:
    """The page of a problem."""
    response = page(request, "problem.html", problem.status, problem=problem)
    response.headers.update(problem.headers)
    return response


def page_router() -> APIRouter:
    """A router of pages."""
    return APIRouter(route_class=PageRoute)
