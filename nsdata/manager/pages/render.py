"""Templates into answers. Everything that is put in is escaped, and shown without characters that
steer; fragments (`part`) ask again by themselves and are sent only when they have changed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from nsdata import __version__
from nsdata.errors import EngineError
from nsdata.manager.audit import Role
from nsdata.manager.pages import instants
from nsdata.manager.pages.visit import actor_of, form_token, keep_form_token
from nsdata.output import shown
from nsdata.output.console import safe

THEME_COOKIE = "nsdata-theme"
THEMES = ("auto", "light", "dark")
HTMX = "htmx-2.min.js"
STATIC = Path(__file__).parent / "static"


def htmx_file() -> Path:
    """The script of htmx 2, out of the package django-htmx, of which nothing is run."""
    spec = find_spec("django_htmx")
    places = spec.submodule_search_locations if spec else None
    for place in places or ():
        file = Path(place) / "static" / "django_htmx" / HTMX
        if file.is_file():
            return file
    raise EngineError(f"the pages need {HTMX} of the package django-htmx: install it")


def _finalize(value: Any) -> Any:
    """What a template puts in: text from outside steers nothing."""
    if value is None:
        return ""
    return safe(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("nsdata.manager.pages"), autoescape=select_autoescape(default=True),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_finalize,
    )  # fmt: skip
    made.filters |= shown.FILTERS | instants.FILTERS
    made.globals |= {"version": __version__, "Role": Role, "themes": THEMES}
    made.globals["static"] = _static_urls()
    return made


def _static_urls() -> dict[str, str]:
    """By name, with a part that changes with the file, so that browsers may keep it."""
    files = {"nsdata.css": STATIC / "nsdata.css", "nsdata.js": STATIC / "nsdata.js",
             "icon.svg": STATIC / "icon.svg", HTMX: htmx_file()}  # fmt: skip
    return {
        name: f"/static/{name}?{hashlib.sha256(file.read_bytes()).hexdigest()[:12]}"
        for name, file in files.items()
    }


environment = _environment()


def render(request: Request, template: str, context: Mapping[str, Any]) -> str:
    """A template's text."""
    theme = request.cookies.get(THEME_COOKIE, THEMES[0])
    return environment.get_template(template).render(
        request=request, path=request.url.path, actor=actor_of(request),
        csrf=form_token(request), theme=theme if theme in THEMES else THEMES[0],
        now=time.time_ns(), **context,
    )  # fmt: skip


def page(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """A whole page."""
    response = HTMLResponse(render(request, template, context), status)
    keep_form_token(request, response)
    return response


class Part:
    """A piece of a page that is asked for again every `every` seconds, as `url` with part=NAME."""

    def __init__(
        self, request: Request, name: str, url: str, template: str, every: int = 2, **context: Any
    ) -> None:
        self.name = name
        inner = render(request, template, context)
        self.digest = hashlib.sha256(inner.encode()).hexdigest()[:16]
        self.url = f"{url}{'&' if '?' in url else '?'}" + urlencode(
            {"part": name, "seen": self.digest}
        )
        self.every = every
        self.inner = Markup(inner)  # escaped by the template

    def __html__(self) -> str:
        return Markup(
            '<div id="part-{}" hx-get="{}" hx-trigger="every {}s" hx-swap="outerHTML">{}</div>'
        ).format(self.name, self.url, self.every, self.inner)

    def answer(self, request: Request) -> Response:
        """To the page that has it already, or an older one."""
        if request.query_params.get("seen") == self.digest:
            return Response(status_code=204)
        return HTMLResponse(self.__html__())
