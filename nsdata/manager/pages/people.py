"""Pages of people: signing in and out, passwords, how it looks."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query, Request
from starlette.responses import Response

from nsdata.manager.accounts import LINK_NS
from nsdata.manager.api.accounts import clear_session_cookie, set_session_cookie
from nsdata.manager.api.guard import Source, TheService, Who, needs, open_to_all
from nsdata.manager.audit import Role
from nsdata.manager.models import NewPassword, SignIn
from nsdata.manager.pages.guard import page_router
from nsdata.manager.pages.render import THEME_COOKIE, THEMES, page
from nsdata.manager.pages.visit import Form, actor_of, local, see, wanted
from nsdata.manager.problems import Problem
from nsdata.manager.secrets import PASSWORD_LEAST, PASSWORD_MOST
from nsdata.manager.service import Service

router = page_router()
YEAR_S = 365 * 86400
Token = Annotated[str, Path(max_length=200)]
Next = Annotated[str, Query(max_length=2000)]
BOUNDS = {"least": PASSWORD_LEAST, "most": PASSWORD_MOST}


@router.get("/login")
@open_to_all
def login_page(request: Request, next: Next = "/") -> Response:
    """Who are you?"""
    if actor_of(request) is not None:
        return see(local(next))
    return page(request, "login.html", next=local(next), error="", name="")


@router.post("/login")
@open_to_all
def login(request: Request, service: TheService, source: Source, form: Form) -> Response:
    """Name and password."""
    back = local(form.get("next", "/"))
    name = form.get("name", "")
    try:
        given = wanted(SignIn, {"name": name, "password": form.get("password", "")})
        made = service.accounts.sign_in(given.name, given.password, source)
    except Problem as problem:
        if problem.status not in (401, 422, 429):
            raise
        said = "Name or password is missing." if problem.status == 422 else problem.detail
        response = page(request, "login.html", problem.status, next=back, error=said, name=name)
        response.headers.update(problem.headers)
        return response
    response = see(back)
    set_session_cookie(response, made.cookie, made.lifetime_s)
    return response


@router.post("/logout")
@needs(Role.VIEWER)
def logout(service: TheService, who: Who) -> Response:
    """The session is over."""
    service.accounts.sign_out(who)
    response = see("/login")
    clear_session_cookie(response)
    return response


@router.get("/password/{token}")
@open_to_all
def password_page(request: Request, service: TheService, token: Token) -> Response:
    """What a one-time link opens: the first start's, a new user's, a forgotten password's."""
    return page(request, "password.html", user=_user_of(service, token), error="", **BOUNDS)


@router.post("/password/{token}")
@open_to_all
def set_password(
    request: Request, service: TheService, source: Source, form: Form, token: Token
) -> Response:
    """Set it; the link is used up."""
    user = _user_of(service, token)
    try:
        given = wanted(NewPassword, {"token": token, "password": _twice(form)})
    except Problem as problem:
        said = _said(problem)
        return page(request, "password.html", 422, user=user, error=said, **BOUNDS)
    service.accounts.set_password(given.token, given.password, source)
    made = service.accounts.sign_in(user, given.password, source)
    response = see("/")
    set_session_cookie(response, made.cookie, made.lifetime_s)
    return response


def _user_of(service: Service, token: str) -> str:
    user = service.accounts.link_user(token)
    if user is None:
        hours = LINK_NS // 3600 // 10**9
        raise Problem(
            403,
            f"This link is used up, wrong, or older than {hours} h. Ask an admin for another one "
            "(or, on the manager's machine: nsdata manager user password-link NAME).",
            kind="link",
        )
    return user


def _twice(form: dict[str, str]) -> str:
    password = form.get("password", "")
    if password != form.get("again", ""):
        raise Problem(422, "The two passwords are not the same.", kind="again")
    return password


def _said(problem: Problem) -> str:
    if problem.kind == "again":
        return problem.detail
    return f"A password has {PASSWORD_LEAST} to {PASSWORD_MOST} characters."


@router.get("/account")
@needs(Role.VIEWER)
def account_page(request: Request) -> Response:
    """Oneself."""
    return page(request, "account.html", error="", done=False, **BOUNDS)


@router.post("/account/password")
@needs(Role.VIEWER)
def change_password(
    request: Request, service: TheService, source: Source, who: Who, form: Form
) -> Response:
    """Another password: who knows the present one; all sessions end but this browser's."""
    name = who.name.removeprefix("user:")
    assert who.user_id is not None
    try:
        given = wanted(NewPassword, {"token": "-", "password": _twice(form)})
        present = wanted(SignIn, {"name": name, "password": form.get("present", "")})
        service.accounts.sign_out(service.accounts.sign_in(name, present.password, source).actor)
    except Problem as problem:
        if problem.status not in (401, 422, 429):
            raise
        said = _said(problem) if problem.status == 422 else "The present password is wrong."
        said = problem.detail if problem.status == 429 else said
        status = 422 if problem.status == 401 else problem.status
        return page(request, "account.html", status, error=said, done=False, **BOUNDS)
    _, token = service.accounts.password_link(who, who.user_id)
    service.accounts.set_password(token, given.password, source)
    made = service.accounts.sign_in(name, given.password, source)
    request.state.actor = made.actor
    response = page(request, "account.html", error="", done=True, **BOUNDS)
    set_session_cookie(response, made.cookie, made.lifetime_s)
    return response


@router.post("/theme")
@open_to_all
def set_theme(form: Form) -> Response:
    """Light, dark, or as the system has it; kept in a cookie."""
    theme = form.get("theme", "")
    response = see(local(form.get("next", "/")))
    if theme in THEMES:
        response.set_cookie(
            THEME_COOKIE, theme, max_age=YEAR_S, path="/", secure=True, httponly=True,
            samesite="lax",
        )  # fmt: skip
    return response
