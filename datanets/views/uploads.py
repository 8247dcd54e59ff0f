"""Files on their way in, as far as a page without a script handles them."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from datanets import selectors, services


@require_POST
def upload_discard(request: HttpRequest, upload_id: UUID) -> HttpResponse:
    upload = selectors.upload_for(request.user, upload_id)
    services.discard_upload(upload=upload)
    messages.success(request, "Discarded: nothing of that file is kept.")
    return redirect("datanets:contribution-create", slug=upload.datanet.slug)
