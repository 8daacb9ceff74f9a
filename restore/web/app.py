"""The HTTP API, a FastAPI application; the page is mounted on it, and uses it like any other client."""

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from restore import __version__
from restore.io.files import json_text
from restore.web import uploads
from restore.web.jobs import Jobs, Ticket
from restore.web.limits import Limits, Refused
from restore.web.middleware import SERVER_ERROR, client_address, error_response
from restore.web.request import RequestFields, resolve
from restore.web.worker import BEFORE, RESULT

POLL_EVERY = 0.5  # seconds between checks that the client is still connected
_FIELDS = RequestFields.model_json_schema()["properties"]
_IMAGE = {"type": "string", "format": "binary", "description": uploads.FORMATS}
_MULTIPART = {
    "multipart/form-data": {
        "schema": {"type": "object", "required": ["image"], "properties": {"image": _IMAGE, **_FIELDS}}
    }
}
_JSON = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["image"],
            "properties": {"image": {"type": "string", "format": "byte", "description": "base64"}, **_FIELDS},
        }
    }
}
_DETAIL = {"type": "object", "properties": {"detail": {"type": "string"}}}
_REFUSED: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "refused, with a sentence", "content": {"application/json": {"schema": _DETAIL}}}
}
_PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}, "description": "the image"}}


@dataclass(frozen=True)
class _Service:
    """State shared by the routes; see :func:`build`."""

    jobs: Jobs
    menu: Sequence[dict[str, Any]]
    limits: Limits
    seed: int

    async def accept(self, request: Request, *, compare: bool) -> Ticket:
        """Turn a request into a job in the queue, or refuse it before it causes any costly work."""
        client = client_address(request.scope)
        self.jobs.admit(client)
        data, fields = await _parse(request, self.limits)
        suffix = uploads.check(data, self.limits)
        job = resolve(fields, self.menu, self.limits, self.seed, compare=compare)
        return self.jobs.submit(client, job, data, suffix)

    @property
    def described(self) -> dict[str, Any]:
        """Description of the request's body for ``/openapi.json``."""
        content = {**_MULTIPART, **(_JSON if self.limits.base64 else {})}
        return {"requestBody": {"required": True, "content": content}}


def build(jobs: Jobs, menu: Sequence[dict[str, Any]], limits: Limits, seed: int) -> FastAPI:
    """The application without the page.

    Args:
        jobs: the queue. menu: the methods served; the first is the default. limits: limits for clients.
        seed: for zero-shot, if a request has none.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        jobs.start()
        yield
        await jobs.stop()

    # FastAPI's documentation pages would load scripts from another host
    app = FastAPI(title="restore", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_exception_handler(Refused, _refuse)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(Exception, _fail)  # then passes the error to the middleware, which logs it
    service = _Service(jobs, menu, limits, seed)
    _serve_menu(app, service)
    _serve_at_once(app, service)
    _serve_in_background(app, service)
    _serve_images(app, jobs)
    return app


def _serve_menu(app: FastAPI, service: _Service) -> None:
    @app.get("/api/methods")
    async def methods() -> dict[str, Any]:
        """The methods served, with the cards of their checkpoints, and the limits."""
        shown = [{key: value for key, value in entry.items() if key != "ckpt_path"} for entry in service.menu]
        return {"methods": shown, "limits": {name: getattr(service.limits, name) for name in _SHOWN}}


def _serve_at_once(app: FastAPI, service: _Service) -> None:
    jobs = service.jobs

    @app.post(
        "/api/restore",
        response_class=Response,
        responses={**_PNG, **_REFUSED},
        openapi_extra=service.described,
    )
    async def restore(request: Request) -> Response:
        """Restore an image and wait: a PNG, with facts about it in the header ``x-restore``; JSON if JSON was sent."""
        ticket = await service.accept(request, compare=False)
        try:
            while not ticket.over.is_set():
                ticket = jobs.get(ticket.id)
                if await request.is_disconnected():
                    return Response(status_code=499)  # the client has disconnected
                await _wait(ticket)
            path = _result(ticket, RESULT)
            content = await asyncio.to_thread(path.read_bytes)
        finally:
            jobs.forget(ticket)
        if _is_json(request):
            return JSONResponse({"image": base64.b64encode(content).decode(), **_facts(ticket)})
        return Response(
            content, media_type="image/png", headers={"x-restore": json_text(_facts(ticket), ascii_only=True)}
        )


def _serve_in_background(app: FastAPI, service: _Service) -> None:
    jobs = service.jobs

    @app.post("/api/jobs", status_code=202, responses=_REFUSED, openapi_extra=service.described)
    async def submit(request: Request) -> dict[str, Any]:
        """Restore an image in the background; a job that is not polled for ``patience`` seconds is dropped."""
        return _status(jobs, await service.accept(request, compare=True))

    @app.get("/api/jobs/{identity}", responses=_REFUSED)
    async def status(identity: str) -> dict[str, Any]:
        """The progress of a job."""
        return _status(jobs, jobs.get(identity))

    @app.delete("/api/jobs/{identity}", responses=_REFUSED)
    async def cancel(identity: str) -> dict[str, str]:
        """Cancel a job unless it is finished, and delete its images."""
        jobs.forget(jobs.get(identity))
        return {"state": "cancelled"}


def _serve_images(app: FastAPI, jobs: Jobs) -> None:
    @app.get("/api/jobs/{identity}/result.png", response_class=FileResponse, responses={**_PNG, **_REFUSED})
    async def result(identity: str) -> FileResponse:
        """The restored image, for ``keep_seconds`` after it was made."""
        return FileResponse(_result(jobs.get(identity), RESULT), media_type="image/png")

    @app.get("/api/jobs/{identity}/before.png", response_class=FileResponse, responses={**_PNG, **_REFUSED})
    async def before(identity: str) -> FileResponse:
        """The upload, enlarged bicubically to the size of the result, for comparison."""
        return FileResponse(_result(jobs.get(identity), BEFORE), media_type="image/png")


_SHOWN = ("max_mb", "max_side", "max_output_side", "part_side", "max_seconds", "timeout", "base64")


async def _parse(request: Request, limits: Limits) -> tuple[bytes, RequestFields]:
    """The uploaded image, and the other fields."""
    try:
        if _is_json(request):
            if not limits.base64:
                raise Refused(415, "this server accepts no JSON (setting base64 is false); send multipart/form-data")
            return _from_json(await request.body())
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            raise Refused(415, "expected multipart/form-data with the file as image, for example curl -F image=@a.png")
        async with request.form(max_files=1, max_fields=len(_FIELDS), max_part_size=4096) as form:
            image = form.get("image")
            if not isinstance(image, UploadFile):
                raise Refused(422, "there is no file called image in the request")
            fields = {name: value for name, value in form.multi_items() if name != "image" and value != ""}
            return await image.read(), RequestFields.model_validate(fields)
    except ValidationError as error:
        raise Refused(422, _sentence(error)) from error
    except ClientDisconnect as error:
        raise Refused(400, "the request was cut off") from error


def _from_json(body: bytes) -> tuple[bytes, RequestFields]:
    try:
        fields = json.loads(body)
        image = base64.b64decode(fields.pop("image"), validate=True)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise Refused(422, "expected a JSON object with the file in base64 as image") from error
    return image, RequestFields.model_validate(fields)


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])[:60]
    if first["type"] == "extra_forbidden":
        return f"{name} is not a field; known are image, {', '.join(_FIELDS)}"
    return f"{name} is {str(first['input'])[:60]!r}: {first['msg'][0].lower()}{first['msg'][1:]}"


def _refuse(request: Request, error: Exception) -> JSONResponse:
    """The response to a refusal of ours, or to an error of the framework."""
    if isinstance(error, HTTPException):
        return error_response(Refused(error.status_code, str(error.detail)[:200]))
    assert isinstance(error, Refused)
    return error_response(error)


def _fail(request: Request, error: Exception) -> JSONResponse:
    return error_response(SERVER_ERROR)


def _is_json(request: Request) -> bool:
    return request.headers.get("content-type", "").startswith("application/json")


async def _wait(ticket: Ticket) -> None:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(ticket.over.wait(), POLL_EVERY)


def _result(ticket: Ticket, name: str) -> Path:
    if ticket.refused is not None:
        raise ticket.refused
    if ticket.state != "done":
        raise Refused(409, f"the job is {ticket.state}; ask for /api/jobs/{ticket.id} until it is done")
    return ticket.folder / name


def _facts(ticket: Ticket) -> dict[str, Any]:
    """The settings that reproduce the result, and facts about it."""
    job = ticket.job
    return {"method": job.method, "scale": job.enlarges, "seed": job.seed, **ticket.facts}


def _status(jobs: Jobs, ticket: Ticket) -> dict[str, Any]:
    status = {
        "id": ticket.id,
        "state": ticket.state,
        "ahead": jobs.ahead(ticket),
        "phase": ticket.phase,
        "done": ticket.done,
        "total": ticket.total,
        **_facts(ticket),
    }
    return status if ticket.refused is None else {**status, "detail": ticket.refused.sentence}
