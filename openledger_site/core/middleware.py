"""Request ids, pages that nobody keeps, and domain errors turned into answers."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.db import OperationalError
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    JsonResponse,
)
from django.shortcuts import render, resolve_url
from django.utils.decorators import sync_and_async_middleware
from psycopg.errors import DeadlockDetected, LockNotAvailable

from openledger_site.core.errors import DomainError, Unavailable
from openledger_site.core.logs import current_request_id
from openledger_site.core.row_security import Reader, reading_as

logger = logging.getLogger(__name__)

# What the database says to whoever it took a lock from, or did not give one to: undone, try again.
GAVE_WAY = (LockNotAvailable, DeadlockDetected)
GetResponse = Callable[[HttpRequest], HttpResponseBase]
Middleware = Callable[[GetResponse], GetResponse]
Finish = Callable[[HttpResponseBase], None]
View = Callable[..., HttpResponseBase]


def _around(meet: Callable[[HttpRequest], AbstractContextManager[Finish]]) -> Middleware:
    """Middleware, for either kind of view, of what is entered with a request. It gives what to do
    with the answer, and is left after that.
    """

    @sync_and_async_middleware
    def middleware(get_response: GetResponse) -> GetResponse:
        if iscoroutinefunction(get_response):

            async def answer_async(request: HttpRequest) -> HttpResponseBase:
                with meet(request) as finish:
                    response: HttpResponseBase = await get_response(request)
                    finish(response)
                return response

            return answer_async  # type: ignore[return-value] # Django accepts either kind here

        def answer(request: HttpRequest) -> HttpResponseBase:
            with meet(request) as finish:
                response = get_response(request)
                finish(response)
            return response

        return answer

    made: Middleware = middleware
    return made


@_around
@contextmanager
def request_id(request: HttpRequest) -> Iterator[Finish]:
    """Give each request an id: on the answer as `x-request-id`, and on each of its log lines."""
    identifier = uuid.uuid4().hex
    current_request_id.set(identifier)

    def name(response: HttpResponseBase) -> None:
        response["x-request-id"] = identifier

    yield name


@_around
@contextmanager
def never_kept(request: HttpRequest) -> Iterator[Finish]:
    """No browser or proxy keeps what somebody with a session saw: a ward's computer is shared, and
    "back" after signing out would show it. A view that says otherwise decides for itself.
    """
    yield lambda response: _kept_by_nobody(request, response)


@_around
@contextmanager
def row_security(request: HttpRequest) -> Iterator[Finish]:
    """Let the database refuse rows that this request's user may not read, if all else forgot to.

    The body of a stream is made after this: what it reads was decided before.
    """
    with reading_as(Reader(request)):
        yield lambda response: None


def _kept_by_nobody(request: HttpRequest, response: HttpResponseBase) -> None:
    name = settings.SESSION_COOKIE_NAME
    if name in request.COOKIES or name in response.cookies:
        # "Back" to the answer to a form needs it, until signing out clears that too.
        kept = "private, no-cache" if request.method == "POST" else "private, no-store"
        response.headers.setdefault("Cache-Control", kept)
    if name in request.COOKIES and name in response.cookies and not response.cookies[name].value:
        response.headers["Clear-Site-Data"] = '"cache"'


def wants_json(request: HttpRequest) -> bool:
    """Programs name JSON first or call under /api/ and /v1/."""
    named = request.headers.get("accept", "").startswith("application/json")
    return named or request.path.startswith("/v1/") or "/api/" in request.path


class SignInRequired(LoginRequiredMiddleware):
    """Asks whose session has ended to sign in, in the form that the caller can follow.

    Followed as a redirect, the whole sign-in page would stand inside a part of a page, or be read
    as JSON; and whoever sent a form would come back to an address that takes no GET.
    """

    def handle_no_permission(  # type: ignore[override] # Django answers what it gives, whatever that is
        self, request: HttpRequest, view_func: View
    ) -> HttpResponseBase:
        if bool(getattr(request, "htmx", False)):
            response = HttpResponse(status=204)
            shown = urlsplit(request.headers.get("HX-Current-URL", ""))
            response["HX-Redirect"] = self._sign_in(shown.path, shown.query)
            return response
        if wants_json(request) or "json" in request.headers.get("accept", ""):
            return JsonResponse(SessionEnded().envelope(), status=SessionEnded.status)
        if request.method not in ("GET", "HEAD"):
            came_from = urlsplit(request.headers.get("referer", ""))
            return HttpResponseRedirect(self._sign_in(came_from.path, came_from.query))
        return super().handle_no_permission(request, view_func)

    def _sign_in(self, path: str, query: str) -> str:
        """The sign-in page, which then leads to an address of ours; whose host was given is not."""
        back = f"{path}?{query}" if query else path
        return f"{resolve_url(settings.LOGIN_URL)}?{urlencode({'next': back or '/'})}"


class SessionEnded(DomainError):
    status = 401
    code = "sign_in_required"
    message = "You are not signed in any more. Load the page again, sign in, and repeat this."


class DomainErrorMiddleware:
    """Answer a `DomainError` raised by any view, in the shape the caller can read."""

    async_capable = True
    sync_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: View, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponse | None:
        """Refuse a NUL in a query: PostgreSQL's text cannot hold it, so no search may carry it."""
        for name, values in request.GET.lists():
            if any("\x00" in value for value in values):
                return _refusal(request, NulInQuery(where=name[:60]))
        return None

    def process_exception(self, request: HttpRequest, exc: Exception) -> HttpResponse | None:
        if isinstance(exc, OperationalError) and isinstance(exc.__cause__, GAVE_WAY):
            logger.warning("gave up waiting for a lock: %s", request.path)
            exc = Busy()
        return _refusal(request, exc) if isinstance(exc, DomainError) else None


class Busy(Unavailable):
    """Nothing was written: the transaction waited for another one longer than it may."""

    code = "busy"
    message = "This is being changed by somebody else right now. Try again in a moment."


class NulInQuery(DomainError):
    status = 400
    code = "nul_in_query"
    message = "The address has a NUL character in it. Type the search again."


def _refusal(request: HttpRequest, error: DomainError) -> HttpResponse:
    """The refusal as an envelope for programs, a fragment for htmx, a page for everybody else."""
    if wants_json(request):
        return JsonResponse(error.envelope(), status=error.status)
    htmx = bool(getattr(request, "htmx", False))
    template = "errors/_refusal.html" if htmx else "errors/refusal.html"
    response = render(request, template, {"error": error}, status=error.status)
    if htmx:
        # The refusal replaces nothing: it is shown in the page's message area.
        response["HX-Retarget"], response["HX-Reswap"] = "#messages", "beforeend"
    return response
