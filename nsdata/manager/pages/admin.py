"""Pages of admins: users, API tokens, enrolment tokens, the audit log."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from starlette.responses import Response

from nsdata.manager.api.accounts import (
    Number,
    enrolment_token_info,
    made_enrolment_token,
    token_info,
    user_info,
)
from nsdata.manager.api.appliances import Cursor
from nsdata.manager.api.guard import TheService, Who, needs
from nsdata.manager.audit import APPLIANCE, Role
from nsdata.manager.models import NewEnrolmentToken, NewToken, NewUser, UserChange
from nsdata.manager.pages.appliances import Line
from nsdata.manager.pages.guard import page_router
from nsdata.manager.pages.render import page
from nsdata.manager.pages.visit import Form, see, wanted
from nsdata.manager.problems import Problem
from nsdata.manager.service import Service

router = page_router()
AUDIT_ROWS = 50


def _users(
    request: Request, service: Service, status: int = 200, *, error: str = "", link: str = "",
    of: str = "",
) -> Response:  # fmt: skip
    found = [user_info(row) for row in service.accounts.users()]
    return page(
        request, "users.html", status, users=found, roles=list(Role), error=error, link=link, of=of
    )


@router.get("/admin/users")
@needs(Role.ADMIN)
def users(request: Request, service: TheService) -> Response:
    """All users."""
    return _users(request, service)


@router.post("/admin/users")
@needs(Role.ADMIN)
def add_user(request: Request, service: TheService, who: Who, form: Form) -> Response:
    """A user; the one-time link is shown once."""
    try:
        given = wanted(NewUser, {"name": form.get("name", ""), "role": form.get("role", "")})
        row, token = service.accounts.add_user(who, given.name, given.role)
    except Problem as problem:
        said = "A name has 1 to 63 letters, digits and _ . @ -"
        said = said if problem.status == 422 else problem.detail
        return _users(request, service, problem.status, error=said)
    return _users(request, service, link=service.password_link(token), of=row.name)


@router.post("/admin/users/{user_id}")
@needs(Role.ADMIN)
def change_user(
    request: Request, service: TheService, who: Who, user_id: Number, form: Form
) -> Response:
    """Another role, enabled or not, removed, a new link: what the button says."""
    do = form.get("do", "")
    try:
        if do == "link":
            row, token = service.accounts.password_link(who, user_id)
            return _users(request, service, link=service.password_link(token), of=row.name)
        if do == "remove":
            service.accounts.remove_user(who, user_id)
        elif do in ("enable", "disable"):
            service.accounts.change_user(who, user_id, None, do == "enable")
        else:
            given = wanted(UserChange, {"role": form.get("role", "")})
            service.accounts.change_user(who, user_id, given.role, None)
    except Problem as problem:
        if problem.status == 404:
            raise
        return _users(request, service, problem.status, error=problem.detail)
    return see("/admin/users")


def _tokens(
    request: Request, service: Service, status: int = 200, *, error: str = "", made: str = ""
) -> Response:
    found = [token_info(*one) for one in service.accounts.tokens()]
    return page(
        request, "tokens.html", status, tokens=found, roles=list(Role), error=error, made=made
    )


@router.get("/admin/tokens")
@needs(Role.ADMIN)
def tokens(request: Request, service: TheService) -> Response:
    """All API tokens, without themselves."""
    return _tokens(request, service)


@router.post("/admin/tokens")
@needs(Role.ADMIN)
def add_token(request: Request, service: TheService, who: Who, form: Form) -> Response:
    """An API token, shown once."""
    given: dict[str, Any] = {key: form.get(key, "") for key in ("name", "role", "days")}
    try:
        new = wanted(NewToken, given)
    except Problem as problem:
        return _tokens(request, service, 422, error=problem.detail)
    made = service.accounts.add_token(who, new.name, new.role, new.days)[1]
    return _tokens(request, service, made=made)


@router.post("/admin/tokens/{token_id}/revoke")
@needs(Role.ADMIN)
def revoke_token(service: TheService, who: Who, token_id: Number) -> Response:
    """It is good for nothing from now on."""
    service.accounts.revoke_token(who, token_id)
    return see("/admin/tokens")


def _enrolment(
    request: Request, service: Service, status: int = 200, *, error: str = "", made: Any = None
) -> Response:
    found = [enrolment_token_info(row) for row in service.enrolments.tokens()]
    return page(
        request, "enrolment.html", status, tokens=found, error=error, made=made,
        fingerprint=service.authority.fingerprint,
    )  # fmt: skip


@router.get("/admin/enrolment")
@needs(Role.ADMIN)
def enrolment(request: Request, service: TheService) -> Response:
    """All enrolment tokens, without themselves."""
    return _enrolment(request, service)


@router.post("/admin/enrolment")
@needs(Role.ADMIN)
def add_enrolment_token(request: Request, service: TheService, who: Who, form: Form) -> Response:
    """A one-time token, shown once, and the command that uses it."""
    try:
        new = wanted(
            NewEnrolmentToken, {"note": form.get("note", ""), "hours": form.get("hours", "")}
        )
    except Problem as problem:
        return _enrolment(request, service, 422, error=problem.detail)
    row, token = service.enrolments.add_token(who, new.note, new.hours)
    return _enrolment(request, service, made=made_enrolment_token(service, row, token))


@router.post("/admin/enrolment/{token_id}/revoke")
@needs(Role.ADMIN)
def revoke_enrolment_token(service: TheService, who: Who, token_id: Number) -> Response:
    """Nobody enrols with it any more."""
    service.enrolments.revoke_token(who, token_id)
    return see("/admin/enrolment")


@router.get("/admin/audit")
@needs(Role.ADMIN)
def audit(request: Request, service: TheService, q: Line = "", cursor: Cursor = None) -> Response:
    """Who did what, from where, and what came of it."""
    found = service.views.audit(q, AUDIT_ROWS, cursor)
    ids = {text.removeprefix(f"{APPLIANCE}:") for one in found.items
           for text in (one.actor, one.subject)}  # fmt: skip

    def link(cursor: str | None = None) -> str:
        query = {key: value for key, value in (("q", q), ("cursor", cursor)) if value}
        return "/admin/audit" + (f"?{urlencode(query)}" if query else "")

    return page(
        request, "audit.html", found=found, q=q,
        names=service.views.names(ids), next=link(found.next) if found.next else None,
        first=link() if cursor else None,
    )  # fmt: skip
