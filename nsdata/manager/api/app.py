"""The app of people's and programs' listener: /api/v1, its document, without the pages."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from nsdata import __version__
from nsdata.manager.api import accounts, appliances, reports
from nsdata.manager.api.guard import COOKIE, CSRF_HEADER
from nsdata.manager.api.shield import shield
from nsdata.manager.service import Service

PREFIX = "/api/v1"
BODY_MOST = 1 << 20  # bytes
DESCRIPTION = """\
Appliances, and what is asked of them. Programs authenticate with an API token (`Authorization:
Bearer …`), pages with a session, whose changes carry its CSRF token. Errors are problem details
(RFC 9457). What is asked of an appliance is answered with 202 and the URL of its status; asked
again with the same `Idempotency-Key`, it is the same command.
"""


def make_app(service: Service) -> FastAPI:
    """The app of one manager."""
    app = FastAPI(
        title="nsdata manager",
        version=__version__,
        description=DESCRIPTION,
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = service
    for router in (
        appliances.router,
        appliances.commands_router,
        reports.router,
        accounts.session_router,
        accounts.router,
        accounts.enrol_router,
    ):
        app.include_router(router, prefix=PREFIX)
    shield(app, BODY_MOST)
    app.openapi = lambda: document(app)  # type: ignore[method-assign]  # as FastAPI documents it
    return app


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document, with who may use which route."""
    if app.openapi_schema:
        return app.openapi_schema
    made = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    made["components"]["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer"},
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": COOKIE,
            "description": f"Changes need its CSRF token in {CSRF_HEADER}.",
        },
    }
    app.openapi_schema = made
    return made


def roles(app: FastAPI) -> dict[tuple[str, str], str]:
    """Every (path, method) of the API, and the role it needs."""
    return {
        (path, method.upper()): operation["x-role"]
        for path, operations in document(app)["paths"].items()
        for method, operation in operations.items()
    }
