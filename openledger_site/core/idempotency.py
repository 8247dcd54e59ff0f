"""The same POST twice has one effect: the answer is stored in the transaction of its effects.

The unique row makes concurrent repeats wait for the first; they then get its stored answer. A
refused or crashed request stores nothing, so it may be sent again. Answers are kept for a month,
what was done for ever: a later repeat is told so, and does nothing.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from openledger_site.core.errors import Conflict, DomainError
from openledger_site.core.fingerprints import is_fingerprint, keyed_fingerprint
from openledger_site.core.models import AnsweredRequest
from openledger_site.core.sealing import KEYED_MARK

USE = "answered request"
OLD_AT_ONCE = 1_000
GIVEN_AGAIN_FOR = timedelta(days=30)
KEPT_FOR = GIVEN_AGAIN_FOR + timedelta(days=1)
STORED_HEADERS = ("Content-Type", "Location", "HX-Redirect", "HX-Trigger")


class KeyReused(DomainError):
    status = 422
    code = "idempotency_key_reused"
    message = (
        "This form was sent before with other content. Load the page again and fill it in anew."
        " A program sends a new Idempotency-Key."
    )


class AnsweredLongAgo(Conflict):
    code = "answered_long_ago"


class KeyTooLong(DomainError):
    status = 400
    code = "idempotency_key_invalid"
    message = "An Idempotency-Key has 1 to 255 visible ASCII characters."


def idempotent(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Run a POST view once per `Idempotency-Key` (header, or hidden field `idempotency_key`).

    Without a key the view runs in a transaction all the same.
    """

    @functools.wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        key = request.headers.get("Idempotency-Key") or request.POST.get("idempotency_key", "")
        if request.method != "POST":
            return view(request, *args, **kwargs)
        check_key(key)
        with transaction.atomic():
            answered = _begin(request, key) if key else None
            if answered is not None and answered.status is not None:
                return _replay(answered)
            response = view(request, *args, **kwargs)
            if response.status_code >= 400:
                transaction.set_rollback(True)
            elif answered is not None:
                _store(answered, response)
        return response

    return wrapper


def check_key(key: str) -> None:
    """Raises `KeyTooLong` for a key that cannot be stored; an empty one is no key."""
    if len(key) > 255 or not key.isascii() or not key.isprintable():
        raise KeyTooLong(where="Idempotency-Key", limit=255)


def _begin(request: HttpRequest, key: str) -> AnsweredRequest:
    principal = _principal(request)
    plain = hashlib.sha256(
        f"{request.method} {request.path}\n".encode() + _body_fingerprint(request)
    ).hexdigest()
    try:
        with transaction.atomic():  # waits here while another transaction holds the same key
            return AnsweredRequest.objects.create(
                principal=principal, key=key, fingerprint=keyed_fingerprint(plain, USE)
            )
    except IntegrityError:
        answered = AnsweredRequest.objects.get(principal=principal, key=key)
        if not is_fingerprint(answered.fingerprint, plain, USE):
            raise KeyReused(where="Idempotency-Key") from None
        return answered


def key_old_fingerprints() -> int:
    """Key those of requests that were answered before they were; returns how many.

    A batch is a statement, so it can be broken off.
    """
    plain = AnsweredRequest.objects.exclude(fingerprint__startswith=KEYED_MARK).order_by("pk")
    total, last = 0, 0
    while batch := list(plain.filter(pk__gt=last).only("fingerprint")[:OLD_AT_ONCE]):
        for answered in batch:
            answered.fingerprint = keyed_fingerprint(answered.fingerprint, USE)
        AnsweredRequest.objects.bulk_update(batch, ["fingerprint"])
        total, last = total + len(batch), batch[-1].pk
    return total


def _principal(request: HttpRequest) -> str:
    """Whose key it is: the API key's that was sent, or else the signed-in person's."""
    authorization = request.headers.get("authorization", "")
    if authorization:
        return f"sent:{hashlib.sha256(authorization.encode()).hexdigest()}"
    user = getattr(request, "user", None)
    return f"user:{user.pk}" if user is not None and user.is_authenticated else "anonymous"


def _body_fingerprint(request: HttpRequest) -> bytes:
    """Multipart bodies differ in their boundary each time: hash fields and file names instead."""
    if request.content_type != "multipart/form-data":
        return request.body
    fields = sorted(
        (name, value)
        for name, values in request.POST.lists()
        for value in values
        if name != "csrfmiddlewaretoken"
    )
    files = sorted(
        (name, str(file.name), file.size or 0)
        for name, listed in request.FILES.lists()
        for file in listed
    )
    return repr((fields, files)).encode()


def _store(answered: AnsweredRequest, response: HttpResponse) -> None:
    rendered = getattr(response, "render", None)
    if callable(rendered):
        rendered()
    answered.status = response.status_code
    answered.headers = {name: response[name] for name in STORED_HEADERS if name in response}
    answered.body = response.content
    answered.save()


def forget_old_answers() -> int:
    """Headers and bodies of answers that no program asks for any more; returns how many.

    A batch is a statement: the first sweep after an upgrade may find years of them.
    """
    old = AnsweredRequest.objects.filter(created_at__lt=Now() - KEPT_FOR).exclude(headers={})
    total = 0
    while batch := list(old.order_by("created_at").values_list("pk", flat=True)[:OLD_AT_ONCE]):
        total += AnsweredRequest.objects.filter(pk__in=batch).update(headers={}, body=b"")
    return total


def _replay(answered: AnsweredRequest) -> HttpResponse:
    if answered.created_at < timezone.now() - GIVEN_AGAIN_FOR:
        raise AnsweredLongAgo(
            f"This was done on {answered.created_at:%-d %B %Y} and is not done again. Load the page"
            " once more if you want to do it a second time; a program sends a new key."
        )
    response = HttpResponse(bytes(answered.body), status=answered.status, headers=answered.headers)
    response["Idempotent-Replay"] = "true"
    return response
