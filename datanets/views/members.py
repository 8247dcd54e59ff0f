"""Who belongs to a Datanet, and as what. For its owner."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from datanets import selectors, services
from datanets.forms import ROLES, MemberForm, RoleForm, TransferForm
from datanets.models import Datanet
from datanets.roles import role_table
from openledger_site.accounts.requests import signed_in_user
from openledger_site.core.errors import DomainError


@require_http_methods(["GET", "POST"])
def member_list(request: HttpRequest, slug: str) -> HttpResponse:
    datanet = selectors.datanet_for_owner(request.user, slug)
    form = MemberForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            member = services.set_member(
                datanet=datanet, actor=signed_in_user(request), **form.cleaned_data
            )
        except DomainError as refusal:
            form.add_error(refusal.where or None, refusal.message)
        else:
            messages.success(request, f"{member.user.name} is now {member.role}.")
            return redirect("datanets:member-list", slug)
    return _page(request, datanet, form=form, transfer=TransferForm(datanet=datanet))


def _page(
    request: HttpRequest, datanet: Datanet, *, form: MemberForm, transfer: TransferForm
) -> HttpResponse:
    roles, abilities = role_table()
    context = {
        "datanet": datanet,
        "form": form,
        "transfer_form": transfer,
        "members": selectors.members_of(datanet),
        "role_choices": [(value, label.partition(":")[0]) for value, label in ROLES],
        "abilities": abilities,
        "roles": roles,
        "requests_waiting": selectors.waiting_requests(datanet),
    }
    status = 422 if form.is_bound or transfer.is_bound else 200
    return render(request, "datanets/member_list.html", context, status=status)


@require_POST
def member_role(request: HttpRequest, slug: str, membership_id: int) -> HttpResponse:
    datanet = selectors.datanet_for_owner(request.user, slug)
    form = RoleForm(request.POST)
    if form.is_valid():
        member = services.change_role(
            datanet=datanet,
            actor=signed_in_user(request),
            membership_id=membership_id,
            role=form.cleaned_data["role"],
        )
        messages.success(request, f"{member.user.name} is now {member.role}.")
    else:
        messages.error(request, "Choose one of the roles.")
    return redirect("datanets:member-list", slug)


@require_POST
def member_remove(request: HttpRequest, slug: str, membership_id: int) -> HttpResponse:
    datanet = selectors.datanet_for_owner(request.user, slug)
    services.remove_member(
        datanet=datanet, actor=signed_in_user(request), membership_id=membership_id
    )
    return redirect("datanets:member-list", slug)


@require_POST
def owner_transfer(request: HttpRequest, slug: str) -> HttpResponse:
    datanet = selectors.datanet_for_owner(request.user, slug)
    form = TransferForm(request.POST, datanet=datanet)
    if not form.is_valid():
        return _page(request, datanet, form=MemberForm(), transfer=form)
    changed = services.transfer_ownership(
        datanet=datanet, actor=signed_in_user(request), member=form.cleaned_data["member"]
    )
    messages.success(request, f"{changed.owner.name} owns {changed.name} now. You are a curator.")
    return redirect(changed)
