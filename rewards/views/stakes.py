"""The pages of stakes. They show rows that the watcher read; the wallet sends every transaction."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from openledger_site.accounts.requests import signed_in_user
from openledger_site.core.errors import DomainError
from openledger_site.core.idempotency import idempotent
from rewards import services
from rewards.forms.stakes import AppealForm, OverturnForm, SlashForm, StakeForm
from rewards.models import SlashCase
from rewards.selectors import stakes as selectors
from rewards.selectors import wallet_addresses_of
from rewards.selectors.governance import parameters_in_force
from rewards.selectors.subjects import StakeSubject
from rewards.views.actions import duration, percent
from rewards.views.money import is_transaction_hash, wallet_contracts


def _common() -> dict[str, Any]:
    """The contracts a wallet needs, and the rules in words."""
    contracts = wallet_contracts()
    if contracts is not None and not contracts["addresses"].staking:
        contracts = None
    reading, parameters = selectors.staking_reading(), parameters_in_force()
    return {
        "contracts": contracts,
        "reading": reading,
        "unbonding": duration(reading.unbonding_seconds) if reading else "",
        "appeal": duration(reading.appeal_seconds) if reading else "",
        "slashing_cap": percent(parameters.slashing_cap_bps),
        "stakers_part": percent(parameters.now.stakers_ppm // 100),
    }


@require_GET
def stake_list(request: HttpRequest) -> HttpResponse:
    user = signed_in_user(request)
    context = _common() | {
        "stakes": selectors.stakes_of(user),
        "leaving": selectors.unbondings_of(user),
        "targets": selectors.targets_visible_to(user),
        "rounds": selectors.income_rounds()[:5],
        "addresses": wallet_addresses_of(user),
        "appealed": selectors.appealed_slashes(user),
    }
    return render(request, "rewards/stakes.html", context)


@require_GET
def stake_state(request: HttpRequest) -> HttpResponse:
    """Whether the transaction of `?transaction=` is read by now."""
    sought = request.GET.get("transaction", "")
    done = is_transaction_hash(sought) and selectors.is_booked(sought)
    return render(request, "rewards/_stake_done.html", {"done": done})


@login_not_required
@require_GET
def stake_panel(request: HttpRequest, kind: str, public_id: UUID) -> HttpResponse:
    """A part of a page of another app: what is staked on its thing."""
    subject = selectors.subject_for(request.user, kind, public_id)
    return render(request, "rewards/_stake_panel.html", _target_context(request, subject))


@login_not_required
@require_GET
def stake_target(request: HttpRequest, kind: str, public_id: UUID) -> HttpResponse:
    subject = selectors.subject_for(request.user, kind, public_id)
    context = _common() | _target_context(request, subject) | {"form": StakeForm()}
    return render(request, "rewards/stake_target.html", context)


@require_POST
def stake_preview(request: HttpRequest, kind: str, public_id: UUID) -> HttpResponse:
    """What a stake of this amount would mean, ready for a wallet. The wallet sends it."""
    subject = selectors.subject_for(request.user, kind, public_id)
    form = StakeForm(request.POST)
    context = _common() | _target_context(request, subject) | {"form": form}
    status = 422
    if form.is_valid():
        services.name_target(subject.subject)
        context["preview"] = _preview(context, form.cleaned_data["amount"])
        status = 200
    return render(request, "rewards/stake_target.html", context, status=status)


def _preview(context: dict[str, Any], amount_wei: int) -> dict[str, Any]:
    figures: selectors.TargetFigures = context["figures"]
    bonded_wei = figures.bonded_wei + amount_wei
    cap_bps = parameters_in_force().slashing_cap_bps
    return {
        "amount_wei": amount_wei,
        "share": percent(amount_wei * 10_000 // bonded_wei),
        "slash_wei": amount_wei * cap_bps // 10_000,
    }


def _target_context(request: HttpRequest, subject: StakeSubject) -> dict[str, Any]:
    user, figures = request.user, selectors.figures_of(subject)
    signed_in = user.is_authenticated
    stakes = selectors.stakes_of(signed_in_user(request), figures.target) if signed_in else []
    leaving = selectors.unbondings_of(signed_in_user(request), figures.target) if signed_in else []
    return {
        "subject": subject,
        "figures": figures,
        "stakes": stakes,
        "leaving": leaving,
        "slashes": selectors.slashes_of(figures.target)[:5],
        "payments": selectors.payments_of(figures.target)[:10],
        "reads_decisions": selectors.may_read_decisions(user, subject),
        "may_decide": selectors.may_decide(user),
        "may_overturn": selectors.may_overturn(user),
        "overturn_form": OverturnForm(),
        "appeal_form": AppealForm(),
        "is_concerned": user.pk == subject.owner_id or bool(stakes or leaving),
        "idempotency_key": uuid4(),
    }


@require_http_methods(["GET", "HEAD", "POST"])
@idempotent
def slash_new(request: HttpRequest, kind: str, public_id: UUID) -> HttpResponse:
    """Announce a slash by a decided dispute; for those who may, 404 for everybody else."""
    if not selectors.may_decide(request.user):
        raise Http404("There is nothing to stake on here.")
    subject = selectors.subject_for(request.user, kind, public_id)
    form = SlashForm(request.POST or None)
    if request.method == "POST" and form.is_valid() and _decide(request, subject, form):
        return redirect(reverse("rewards:stake-target", args=[subject.kind, subject.public_id]))
    context = _common() | {
        "subject": subject,
        "figures": selectors.figures_of(subject),
        "form": form,
        "idempotency_key": uuid4(),
    }
    status = 422 if request.method == "POST" else 200
    return render(request, "rewards/slash_form.html", context, status=status)


def _decide(request: HttpRequest, subject: StakeSubject, form: SlashForm) -> bool:
    try:
        services.decide_slash(
            subject=subject.subject,
            owner_id=subject.owner_id,
            amount_wei=form.cleaned_data["amount"],
            decision=form.cleaned_data["decision"],
            actor=signed_in_user(request),
        )
    except DomainError as refusal:
        form.add_error("amount" if refusal.where == "amount" else None, str(refusal))
        return False
    return True


@require_POST
@idempotent
def slash_appeal(request: HttpRequest, public_id: UUID) -> HttpResponse:
    case = selectors.slash_for_concerned(signed_in_user(request), public_id)
    form = AppealForm(request.POST)
    if not form.is_valid():
        raise DomainError("Say in at least 20 letters why the slash is wrong.", where="words")
    services.appeal_slash(case=case, by=signed_in_user(request), words=form.cleaned_data["words"])
    return redirect(_page_of(case))


@require_POST
@idempotent
def slash_overturn(request: HttpRequest, public_id: UUID) -> HttpResponse:
    case = selectors.slash_for_arbiter(request.user, public_id)
    form = OverturnForm(request.POST)
    if not form.is_valid():
        raise DomainError("Say why the appeal is right.", where="reason")
    services.overturn_slash(
        case=case, reason=form.cleaned_data["reason"], actor=signed_in_user(request)
    )
    return redirect(_page_of(case))


@require_POST
@idempotent
def slash_carry_out(request: HttpRequest, public_id: UUID) -> HttpResponse:
    case = selectors.slash_for_arbiter(request.user, public_id)
    services.carry_out_overturned(case=case, actor=signed_in_user(request))
    return redirect(_page_of(case))


def _page_of(case: SlashCase) -> str:
    kind, _, subject_id = case.subject.partition(":")
    return reverse("rewards:stake-target", args=[kind, subject_id])
