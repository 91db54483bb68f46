"""/api/v1: signing in, users, tokens, enrolment, the audit log, the manager itself."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Response

from nsdata import __version__
from nsdata.appliance.protocol import Enrolment, EnrolRequest
from nsdata.manager.api.appliances import Cursor, Limit, Text
from nsdata.manager.api.guard import (
    COOKIE,
    Source,
    TheService,
    Who,
    guarded_router,
    needs,
    open_to_all,
    problems,
)
from nsdata.manager.audit import Role
from nsdata.manager.listing import LIMIT
from nsdata.manager.models import (
    About,
    AuditEntry,
    EnrolmentTokenInfo,
    MadeEnrolmentToken,
    MadeToken,
    NewEnrolmentToken,
    NewPassword,
    NewToken,
    NewUser,
    Page,
    SessionInfo,
    SignIn,
    TokenInfo,
    UserChange,
    UserInfo,
    UserLink,
)
from nsdata.manager.service import Service
from nsdata.manager.tables import ApiToken, EnrolmentToken, User

session_router = guarded_router("/session", "session")
router = guarded_router("", "administration")
enrol_router = guarded_router("", "enrolment")

Number = Annotated[int, Path(ge=1, le=(1 << 63) - 1)]
NO_CONTENT = 204


def set_session_cookie(response: Response, cookie: str, lifetime_s: int) -> None:
    """Only for this host, over TLS, out of reach of scripts, not sent from other sites."""
    response.set_cookie(
        COOKIE, cookie, max_age=lifetime_s, path="/", secure=True, httponly=True, samesite="strict"
    )


def clear_session_cookie(response: Response) -> None:
    """Forget it."""
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")


@session_router.post("", status_code=201, responses=problems(401, 429, open_=True))
@open_to_all
def sign_in(service: TheService, source: Source, response: Response, wanted: SignIn) -> SessionInfo:
    """A session: its cookie is set."""
    made = service.accounts.sign_in(wanted.name, wanted.password, source)
    set_session_cookie(response, made.cookie, made.lifetime_s)
    return SessionInfo(actor=made.actor.name, role=made.actor.role, csrf_token=made.actor.csrf)


@session_router.get("", responses=problems())
@needs(Role.VIEWER)
def who_am_i(who: Who) -> SessionInfo:
    """Who you are."""
    return SessionInfo(actor=who.name, role=who.role, csrf_token=who.csrf)


@session_router.delete("", status_code=NO_CONTENT, responses=problems())
@needs(Role.VIEWER)
def sign_out(who: Who, service: TheService, response: Response) -> None:
    """The session is over."""
    service.accounts.sign_out(who)
    clear_session_cookie(response)


@session_router.post("/password", status_code=NO_CONTENT, responses=problems(403, 429, open_=True))
@open_to_all
def set_password(service: TheService, source: Source, wanted: NewPassword) -> None:
    """Set a password with the token of a one-time link."""
    service.accounts.set_password(wanted.token, wanted.password, source)


@router.get("/about", responses=problems())
@needs(Role.VIEWER)
def about(who: Who, service: TheService) -> About:
    """The manager itself."""
    return service.views.about(__version__, service.failing, service.refused)


@router.get("/audit", responses=problems())
@needs(Role.ADMIN)
def list_audit(
    who: Who, service: TheService, query: Text = "", limit: Limit = LIMIT, cursor: Cursor = None
) -> Page[AuditEntry]:
    """Who did what, from where, and what came of it; newest first."""
    return service.views.audit(query, limit, cursor)


# --- users ----------------------------------------------------------------------------------


def user_info(row: User) -> UserInfo:
    """As it is shown."""
    return UserInfo(
        id=row.id,
        name=row.name,
        role=Role(row.role),
        enabled=row.enabled,
        has_password=row.password is not None,
        made_ns=row.made_ns,
    )


@router.get("/users", responses=problems())
@needs(Role.ADMIN)
def list_users(who: Who, service: TheService) -> list[UserInfo]:
    """All users."""
    return [user_info(row) for row in service.accounts.users()]


@router.post("/users", status_code=201, responses=problems(409))
@needs(Role.ADMIN)
def add_user(who: Who, service: TheService, wanted: NewUser) -> UserLink:
    """A user; the one-time link sets the password."""
    row, token = service.accounts.add_user(who, wanted.name, wanted.role)
    return UserLink(user=user_info(row), link=service.password_link(token))


@router.patch("/users/{user_id}", responses=problems(404, 409))
@needs(Role.ADMIN)
def change_user(who: Who, service: TheService, user_id: Number, wanted: UserChange) -> UserInfo:
    """Other role; or nobody signs in as them any more."""
    return user_info(service.accounts.change_user(who, user_id, wanted.role, wanted.enabled))


@router.delete("/users/{user_id}", status_code=NO_CONTENT, responses=problems(404, 409))
@needs(Role.ADMIN)
def remove_user(who: Who, service: TheService, user_id: Number) -> None:
    """Gone, with their sessions and API tokens."""
    service.accounts.remove_user(who, user_id)


@router.post("/users/{user_id}/password-link", status_code=201, responses=problems(404))
@needs(Role.ADMIN)
def make_password_link(who: Who, service: TheService, user_id: Number) -> UserLink:
    """A one-time link to set another password; earlier ones are void."""
    row, token = service.accounts.password_link(who, user_id)
    return UserLink(user=user_info(row), link=service.password_link(token))


# --- tokens ---------------------------------------------------------------------------------


def token_info(row: ApiToken, owner: str | None) -> TokenInfo:
    """As it is shown."""
    names = TokenInfo.model_fields.keys() - {"owner"}
    return TokenInfo.model_validate({n: getattr(row, n) for n in names} | {"owner": owner})


@router.get("/tokens", responses=problems())
@needs(Role.ADMIN)
def list_tokens(who: Who, service: TheService) -> list[TokenInfo]:
    """All API tokens, without themselves; newest first."""
    return [token_info(*one) for one in service.accounts.tokens()]


@router.post("/tokens", status_code=201, responses=problems())
@needs(Role.ADMIN)
def add_token(who: Who, service: TheService, wanted: NewToken) -> MadeToken:
    """An API token, shown once."""
    row, token = service.accounts.add_token(who, wanted.name, wanted.role, wanted.days)
    return MadeToken(token=token, info=token_info(row, service.accounts.owner(row)))


@router.delete("/tokens/{token_id}", status_code=NO_CONTENT, responses=problems(404))
@needs(Role.ADMIN)
def revoke_token(who: Who, service: TheService, token_id: Number) -> None:
    """It is good for nothing from now on."""
    service.accounts.revoke_token(who, token_id)


# --- enrolment ------------------------------------------------------------------------------


def enrolment_token_info(row: EnrolmentToken) -> EnrolmentTokenInfo:
    """As it is shown."""
    names = EnrolmentTokenInfo.model_fields
    return EnrolmentTokenInfo.model_validate({n: getattr(row, n) for n in names})


def made_enrolment_token(service: Service, row: EnrolmentToken, token: str) -> MadeEnrolmentToken:
    """As it is shown, once."""
    command = f"nsdata appliance enrol DIRECTORY --manager {service.url} --token-file FILE"
    return MadeEnrolmentToken(token=token, command=command, info=enrolment_token_info(row))


@router.get("/enrolment-tokens", responses=problems())
@needs(Role.ADMIN)
def list_enrolment_tokens(who: Who, service: TheService) -> list[EnrolmentTokenInfo]:
    """All enrolment tokens, without themselves; newest first."""
    return [enrolment_token_info(row) for row in service.enrolments.tokens()]


@router.post("/enrolment-tokens", status_code=201, responses=problems())
@needs(Role.ADMIN)
def add_enrolment_token(
    who: Who, service: TheService, wanted: NewEnrolmentToken
) -> MadeEnrolmentToken:
    """A one-time token with which one appliance enrols; shown once."""
    row, token = service.enrolments.add_token(who, wanted.note, wanted.hours)
    return made_enrolment_token(service, row, token)


@router.delete("/enrolment-tokens/{token_id}", status_code=NO_CONTENT, responses=problems(404))
@needs(Role.ADMIN)
def revoke_enrolment_token(who: Who, service: TheService, token_id: Number) -> None:
    """Nobody enrols with it any more."""
    service.enrolments.revoke_token(who, token_id)


@enrol_router.post("/enrol", status_code=201, responses=problems(403, 429, open_=True))
@open_to_all
def enrol(service: TheService, source: Source, wanted: EnrolRequest) -> Enrolment:
    """An appliance enrols with its one-time token."""
    return service.enrolments.enrol(wanted, source)


@enrol_router.get("/ca", responses=problems(open_=True), response_class=Response)
@open_to_all
def certificate_authority(service: TheService) -> Response:
    """The certificate of the manager's CA (PEM); whoever enrols compares its fingerprint."""
    return Response(service.authority.pem, media_type="application/x-pem-file")
