"""The pages of votes. They show rows that a worker read; the wallet sends every transaction."""

from __future__ import annotations

import re
from typing import Any, cast
from uuid import UUID

from django.contrib.auth.decorators import login_not_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_http_methods
from web3 import Web3

from openledger_site.accounts.models import User
from rewards.chain.contracts import Addresses
from rewards.forms.governance import ACTIONS, ActionForm, FeeSplitForm, HoldingForm, TreasuryForm
from rewards.models import GovernanceReading, Proposal
from rewards.selectors import governance as selectors
from rewards.selectors.simulation import simulate_holding, simulate_split
from rewards.services.chain import deployed_addresses
from rewards.views.actions import DecodedAction, decode_action, duration, percent
from rewards.views.money import is_transaction_hash, wallet_contracts

PROPOSALS_A_PAGE = 20
# Without contracts nothing of ours can be recognised; the pages still show what is stored.
NOWHERE = Addresses(0, "", "", "", "", 0, "", "")


def _reader(request: HttpRequest) -> User | None:
    return request.user if request.user.is_authenticated else None


def _addresses() -> Addresses:
    return deployed_addresses() or NOWHERE


def _common(request: HttpRequest) -> dict[str, Any]:
    """The contracts a wallet needs, and how fresh the figures are."""
    reading = selectors.last_reading()
    contracts = wallet_contracts()
    if contracts is not None and not contracts["addresses"].has_governance:
        contracts = None
    reader = _reader(request)
    return {
        "contracts": contracts,
        "reading": reading,
        "is_stale": contracts is not None and selectors.reading_is_stale(reading),
        "powers": selectors.voting_power_of(reader) if reader else [],
        "rules": _rules(reading) if reading else {},
    }


def _rules(reading: GovernanceReading) -> dict[str, str]:
    """The waiting times in words."""
    return {
        "voting_delay": duration(reading.voting_delay_seconds),
        "voting_period": duration(reading.voting_period_seconds),
        "timelock_delay": duration(reading.timelock_delay_seconds),
    }


@login_not_required
@require_GET
def proposal_list(request: HttpRequest) -> HttpResponse:
    page = Paginator(selectors.proposals(), PROPOSALS_A_PAGE).get_page(request.GET.get("page"))
    parameters = selectors.parameters_in_force()
    context = _common(request) | {
        "page": page,
        "parameters": parameters,
        "holding": duration(parameters.now.holding_seconds_in_force),
        "slashing_cap": percent(parameters.slashing_cap_bps),
    }
    return render(request, "rewards/governance.html", context)


@require_GET
def voting_power(request: HttpRequest) -> HttpResponse:
    """One's own votes; `?block=` says whether they were read at or after that block."""
    powers = selectors.voting_power_of(cast(User, request.user))
    block = _block(request)
    done = bool(powers) and block is not None and all(row.read_block >= block for row in powers)
    return render(request, "rewards/_voting_power.html", {"powers": powers, "done": done})


@login_not_required
@require_GET
def proposal_detail(request: HttpRequest, public_id: UUID) -> HttpResponse:
    proposal = selectors.proposal_by(public_id)
    context = _common(request) | _proposal_context(proposal)
    return render(request, "rewards/proposal_detail.html", context)


@login_not_required
@require_GET
def proposal_state(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """Votes and steps; `?block=` says whether they were read at or after that block."""
    proposal = selectors.proposal_by(public_id)
    block, read_block = _block(request), proposal.read_block
    done = block is not None and read_block is not None and read_block >= block
    context = _proposal_context(proposal) | {"done": done}
    return render(request, "rewards/_proposal_state.html", context)


def _proposal_context(proposal: Proposal) -> dict[str, Any]:
    quorum_wei, votes_wei = proposal.quorum_wei, proposal.quorum_votes_wei
    return {
        "proposal": proposal,
        "actions": [decode_action(action, _addresses()) for action in proposal.actions],
        "moments": selectors.timeline_of(proposal),
        "quorum_percent": min(100, votes_wei * 100 // quorum_wei) if quorum_wei else None,
        "shares": [
            {"label": "For", "value": proposal.for_wei},
            {"label": "Against", "value": proposal.against_wei},
            {"label": "Abstain", "value": proposal.abstain_wei},
        ],
    }


@require_GET
def proposal_found(request: HttpRequest) -> HttpResponse:
    """Whether the proposal of `?transaction=` is known by now, and where it is."""
    sought = request.GET.get("transaction", "")
    proposal = selectors.proposal_of_transaction(sought) if is_transaction_hash(sought) else None
    return render(request, "rewards/_proposal_found.html", {"proposal": proposal})


@require_GET
def proposal_choose(request: HttpRequest) -> HttpResponse:
    context = _common(request)
    context["choices"] = [
        (slug, title, help_text)
        for slug, (title, help_text, _) in ACTIONS.items()
        if _is_offered(slug, context["contracts"])
    ]
    return render(request, "rewards/proposal_choose.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def proposal_new(request: HttpRequest, action: str) -> HttpResponse:
    """Fields, then what they would do: decoded, simulated, and ready for a wallet.

    Nothing is stored, so the same form may be sent any number of times.
    """
    common = _common(request)
    if not _is_offered(action, common["contracts"]):
        raise Http404("There is no such action.")
    title, help_text, form_class = ACTIONS[action]
    form = form_class(request.POST if request.method == "POST" else None)
    context = common | {"form": form, "action": action, "name": title, "lede": help_text}
    status = 200
    if form.is_bound:
        if not form.is_valid():
            status = 422
        elif context["contracts"]:
            context |= _preview(request, form, context["contracts"]["addresses"])
    return render(request, "rewards/proposal_form.html", context, status=status)


def _is_offered(action: str, contracts: dict[str, Any] | None) -> bool:
    """A grant needs a contract that older chains have not got."""
    if action == "grant" and contracts is not None and not contracts["addresses"].vesting:
        return False
    return action in ACTIONS


def _preview(request: HttpRequest, form: ActionForm, addresses: Addresses) -> dict[str, Any]:
    decoded: list[DecodedAction] = [
        decode_action(
            {"target": call.to or "", "value_wei": "0", "data": Web3.to_hex(call.data)}, addresses
        )
        for call in form.calls(addresses)
    ]
    context: dict[str, Any] = {"decoded": decoded, "description": form.description()}
    if isinstance(form, FeeSplitForm):
        context["split"] = simulate_split(form.shares_bps, _reader(request))
    elif isinstance(form, HoldingForm):
        context["holding"] = simulate_holding(form.seconds)
    elif isinstance(form, TreasuryForm):
        reading = selectors.last_reading()
        held_wei = reading.treasury_wei if reading else 0
        context["treasury_left_wei"] = held_wei - form.cleaned_data["amount"]
        context["treasury_wei"] = held_wei
    return context


def _block(request: HttpRequest) -> int | None:
    text = request.GET.get("block", "")
    return int(text) if re.fullmatch(r"\d{1,18}", text) else None
