"""Versions, their manifests and proofs, and the page of one record."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from datanets import selectors, services
from datanets.croissant import citation_of
from datanets.forms import AppealForm, DoubtForm, GoldForm, VersionForm
from datanets.models import Datanet, Record, Version
from datanets.provenance import provenance_shares
from openledger_site.accounts.requests import signed_in_user
from openledger_site.core.idempotency import idempotent
from openledger_site.core.storage import blob_path
from openledger_site.core.streaming import StreamedFile

PAGE_ROWS = 50


@require_POST
@idempotent
def version_create(request: HttpRequest, slug: str) -> HttpResponse:
    datanet = selectors.datanet_for_curator(request.user, slug)
    form = VersionForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Hold out 0 to 50 percent; a note has at most 500 characters.")
        return redirect(datanet)
    version = services.cut_version(
        datanet=datanet, actor=signed_in_user(request), **form.cleaned_data
    )
    return redirect(version)


@login_not_required
@require_GET
def version_detail(request: HttpRequest, version_id: UUID) -> HttpResponse:
    version = selectors.version_for(request.user, version_id)
    rights = selectors.rights_of(request.user, version.datanet)
    if rights.read:
        services.note_reading(reader=request.user, datanet=version.datanet)
    leaf = _first_leaf(request, version)
    counts = selectors.counts_of_version(version)
    context = {
        "version": version,
        "datanet": version.datanet,
        "rights": rights,
        "entries": selectors.leaves_of(version, leaf, PAGE_ROWS, may_read=rights.read),
        "first_leaf": leaf,
        "last_leaf": min(leaf + PAGE_ROWS, version.record_count) - 1,
        "previous_leaf": max(0, leaf - PAGE_ROWS) if leaf else None,
        "next_leaf": leaf + PAGE_ROWS if leaf + PAGE_ROWS < version.record_count else None,
        "licences": counts.by["licence"].most_common(),
        **provenance_shares(counts),
        "citation": citation_of(version, request.build_absolute_uri("/").rstrip("/")),
    }
    return render(request, "datanets/version_detail.html", context)


def _first_leaf(request: HttpRequest, version: Version) -> int:
    """Where the table of leaves begins: leaves have no gaps, so nothing has to be counted."""
    asked = request.GET.get("leaf", "")
    # Nine digits: what is longer is no leaf, and slow to read as a number.
    leaf = int(asked) if asked.isascii() and asked.isdigit() and len(asked) <= 9 else 0
    return leaf if leaf < version.record_count else 0


@login_not_required
@require_GET
def version_manifest(request: HttpRequest, version_id: UUID) -> HttpResponseBase:
    version = selectors.version_for(request.user, version_id)
    name = f"{version.datanet.slug}-{version.number}-manifest.json"
    return StreamedFile(
        blob_path(version.manifest_digest).open("rb"),
        as_attachment=True,
        filename=name,
        content_type="application/json",
    )


@login_not_required
@require_GET
def version_proof(request: HttpRequest, version_id: UUID, record_id: UUID) -> HttpResponse:
    version = selectors.version_for(request.user, version_id)
    entry = selectors.entry_for(request.user, version, record_id)
    entry.version = version
    _note(request, entry.record, version.datanet)
    response = JsonResponse(services.inclusion_proof(entry), json_dumps_params={"indent": 2})
    response["Content-Disposition"] = f'attachment; filename="proof-{record_id}.json"'
    return response


@login_not_required
@require_GET
def record_detail(request: HttpRequest, record_id: UUID) -> HttpResponse:
    record = selectors.record_for(request.user, record_id)
    _note(request, record, record.datanet)
    curates = selectors.is_senior(request.user, record.datanet)
    context = {
        "record": record,
        "datanet": record.datanet,
        "content_sha256": selectors.plain_hash(record),
        "entries": record.version_entries.select_related("version").order_by("-version__number"),
        "may_curate": curates,
        "samples_max": services.SAMPLES_MAX,
        "behind_wei": selectors.stake_behind(record.contribution),
        "reviews": selectors.reviews_shown(request.user, record),
        "reads_notes": selectors.reads_notes(request.user, record),
        **_quality(request, record, curates),
        "remarks": selectors.remarks_on(request.user, record)
        if request.user.is_authenticated
        else [],
    }
    return render(request, "datanets/record_detail.html", context)


def _quality(request: HttpRequest, record: Record, curates: bool) -> dict[str, Any]:
    """A test row for a curator to make, an appeal for its contributor."""
    own = record.contribution.contributor_id == request.user.pk
    decided = record.state in (Record.State.APPROVED, Record.State.REJECTED)
    return {
        "appeal": selectors.appeal_of(record) if own or curates else None,
        "appeal_form": AppealForm() if own and selectors.may_appeal(record) else None,
        "doubt_form": DoubtForm()
        if request.user.is_authenticated and not own and record.state == Record.State.APPROVED
        else None,
        "gold": selectors.gold_of(record) if curates else None,
        "gold_form": GoldForm() if curates and decided and not own else None,
    }


def _note(request: HttpRequest, record: Record, datanet: Datanet) -> None:
    """Whoever opens a row of somebody else."""
    if record.contribution.contributor_id != request.user.pk:
        services.note_reading(reader=request.user, datanet=datanet)
