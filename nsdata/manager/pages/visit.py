"""One request for a page: who asks, what its form holds, where to go from there."""

from __future__ import annotations

import re
from typing import Annotated, TypeVar

from fastapi import Depends, Request, Response
from pydantic import BaseModel, ValidationError
from starlette.responses import RedirectResponse

from nsdata.manager import secrets
from nsdata.manager.audit import Actor
from nsdata.manager.problems import Problem

FORM_COOKIE = "__Host-nsdata-form"  # CSRF before there is a session
_LOCAL = re.compile(r"/(?![/\\])[^\x00-\x20\\\x7f]*")

Fields = dict[str, str]
Model = TypeVar("Model", bound=BaseModel)


def actor_of(request: Request) -> Actor | None:
    """Who asks; None: nobody has signed in."""
    found: Actor | None = getattr(request.state, "actor", None)
    return found


def of_htmx(request: Request) -> bool:
    """Whether a fragment is asked for, from within a page."""
    return request.headers.get("hx-request") == "true"


def local(url: str) -> str:
    """A path of this manager to go to; / when it is anything else."""
    return url if _LOCAL.fullmatch(url) else "/"


def form_token(request: Request) -> str:
    """What a form has to carry."""
    actor = actor_of(request)
    if actor is not None and actor.csrf:
        return actor.csrf
    found = getattr(request.state, "form_token", "") or request.cookies.get(FORM_COOKIE, "")
    if not found:
        found = secrets.new_token("form")
    request.state.form_token = found
    return str(found)


def keep_form_token(request: Request, response: Response) -> None:
    """The cookie beside a form that was shown to nobody in particular."""
    token = getattr(request.state, "form_token", "")
    if token and token != request.cookies.get(FORM_COOKIE):
        response.set_cookie(FORM_COOKIE, token, path="/", secure=True, httponly=True,
                            samesite="strict")  # fmt: skip


def see(location: str) -> Response:
    """Go there, and read it."""
    return RedirectResponse(location, 303)


def wanted(model: type[Model], fields: Fields) -> Model:
    """The fields as the API takes them. Raises Problem (422), which says what is wrong."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        said = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5]
        )
        raise Problem(422, said) from None


def _fields_of(request: Request) -> Fields:
    found: Fields = request.state.fields
    return found


Form = Annotated[Fields, Depends(_fields_of)]
