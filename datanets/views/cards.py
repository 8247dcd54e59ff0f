"""A Datanet's card: its form, with a preview; what programs and papers read of it."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from datanets import selectors, services
from datanets.completeness import answers_of
from datanets.croissant import CONTENT_TYPE, croissant
from datanets.viewer_forms import CardForm
from openledger_site.accounts.requests import signed_in_user


@require_http_methods(["GET", "POST"])
def card_edit(request: HttpRequest, slug: str) -> HttpResponse:
    datanet = selectors.datanet_for_curator(request.user, slug)
    card = selectors.card_of(datanet)
    initial = {"guidelines": datanet.guidelines}
    form = CardForm(request.POST or None, instance=card, initial=initial)
    valid = form.is_bound and form.is_valid()
    if valid and "preview" not in request.POST:
        services.edit_card(
            datanet=datanet, actor=signed_in_user(request), answers=form.cleaned_data
        )
        messages.success(request, "The card is saved.")
        return redirect(datanet)
    context = {
        "datanet": datanet,
        "form": form,
        "preview": answers_of(form.cleaned_data) if valid else [],
        "previewed": valid,
    }
    status = 422 if form.is_bound and not valid else 200
    return render(request, "datanets/card_form.html", context, status=status)


@login_not_required
@require_GET
def version_croissant(request: HttpRequest, version_id: UUID) -> HttpResponse:
    """The version in the Croissant format, for whoever may see its page."""
    version = selectors.version_for(request.user, version_id)
    described = croissant(
        version,
        card=selectors.card_of(version.datanet),
        counts=selectors.counts_of_version(version),
        site=request.build_absolute_uri("/").rstrip("/"),
    )
    response = JsonResponse(described, json_dumps_params={"indent": 2, "ensure_ascii": False})
    response["Content-Type"] = CONTENT_TYPE
    name = f"{version.datanet.slug}-{version.number}-croissant.json"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
