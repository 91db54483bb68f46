"""All pages, put into the app of people's listener."""

from __future__ import annotations

from inspect import isawaitable
from typing import Annotated

from fastapi import FastAPI, Path, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

from nsdata.manager.api.app import PREFIX
from nsdata.manager.api.guard import open_to_all
from nsdata.manager.pages import admin, appliances, events, general, people, tabs
from nsdata.manager.pages.guard import as_problem, know, page_router, troubled
from nsdata.manager.pages.render import HTMX, STATIC, htmx_file
from nsdata.manager.problems import not_found

KEEP = "private, max-age=31536000, immutable"  # the URL changes with the file
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
files = page_router()


@files.get("/static/{name}")
@open_to_all
def static_file(name: Annotated[str, Path(max_length=50)]) -> Response:
    """Style, scripts, icon; nothing else."""
    known = {file.name: file for file in STATIC.iterdir()} | {HTMX: htmx_file()}
    file = known.get(name)
    if file is None or file.suffix not in TYPES:
        raise not_found("file")
    return FileResponse(
        file, media_type=f"{TYPES[file.suffix]}; charset=utf-8", headers={"Cache-Control": KEEP}
    )


ROUTERS = (
    files,
    people.router,
    appliances.router,
    general.router,
    tabs.router,
    events.router,
    admin.router,
)


def mount(app: FastAPI) -> None:
    """Add the pages; what is not found outside the API is told as a page."""
    for router in ROUTERS:
        app.include_router(router, include_in_schema=False)
    of_api = app.exception_handlers[HTTPException]

    async def problem(request: Request, error: Exception) -> Response:
        path = request.url.path
        if path == PREFIX or path.startswith("/api/"):
            answer = of_api(request, error)
            return await answer if isawaitable(answer) else answer
        await run_in_threadpool(know, request)
        return await run_in_threadpool(troubled, request, as_problem(error))

    app.add_exception_handler(HTTPException, problem)
