"""Disputes for staff to read, whose money they decide elsewhere and by hand; and agents, which they
can take down and bring back."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from marketplace.models import Agent, AgentTakedown, Dispute
from marketplace.services import answer_takedown, take_down_agent
from openledger_site.accounts.models import User
from openledger_site.core.admin import ReadOnlyAdmin


@admin.register(Dispute)
class DisputeAdmin(ReadOnlyAdmin):
    list_display = ["created_at", "state", "model_name", "raised_by", "finding_words", "decided_at"]
    list_select_related = ["inference__model", "raised_by"]
    list_filter = ["state"]
    search_fields = ["public_id", "inference__public_id", "raised_by__email"]
    # The answer's own page would show texts that belong to its consumer: only its id is here.
    fields = [
        "page", "inference", "raised_by", "records", "reason", "state", "created_at",
        "finding", "decided_at",
    ]  # fmt: skip

    @admin.display(description="Model")
    def model_name(self, dispute: Dispute) -> str:
        return dispute.inference.model.name

    @admin.display(description="Finding")
    def finding_words(self, dispute: Dispute) -> str:
        return dispute.finding["sentence"] if dispute.finding else ""

    @admin.display(description="Page")
    def page(self, dispute: Dispute) -> str:
        return format_html('<a href="{}">{}</a>', dispute.get_absolute_url(), dispute.public_id)


def _take_down(reason: AgentTakedown.Reason) -> Any:
    def action(admin_: Any, request: HttpRequest, agents: QuerySet[Agent]) -> None:
        staff = cast(User, request.user)
        for agent in agents.exclude(owner=staff):
            take_down_agent(agent=agent, by=staff, reason=reason)

    action.__name__ = f"take_down_{reason.value}"
    return admin.action(
        permissions=["change"], description=f"Take down: {str(reason.label).lower()}"
    )(action)


@admin.action(permissions=["change"], description="Bring back")
def bring_back(admin_: Any, request: HttpRequest, agents: QuerySet[Agent]) -> None:
    staff = cast(User, request.user)
    for agent in agents.exclude(owner=staff).filter(takedown__isnull=False):
        answer_takedown(agent=agent, by=staff, back=True)


@admin.register(Agent)
class AgentAdmin(admin.ModelAdmin[Agent]):
    """All agents, also those over private models, which no page shows to staff."""

    list_display = ["slug", "name", "owner", "visibility", "takedown_words", "retired_at"]
    list_select_related = ["owner", "takedown"]
    search_fields = ["slug", "name", "owner__email"]
    readonly_fields = ["slug", "name", "summary", "opening", "owner", "visibility", "created_at"]
    fields = ["slug", "name", "summary", "opening", "owner", "visibility", "created_at"]
    actions = [*(_take_down(reason) for reason in AgentTakedown.Reason), bring_back]

    @admin.display(description="Taken down")
    def takedown_words(self, agent: Agent) -> str:
        return agent.takedown.get_reason_display() if agent.takedown else ""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Agent | None = None) -> bool:
        return False


@admin.register(AgentTakedown)
class AgentTakedownAdmin(ReadOnlyAdmin):
    list_display = ["taken_at", "agent", "reason", "taken_by", "appealed_at", "answered_at"]
    list_select_related = ["agent", "taken_by"]
    list_filter = ["reason", ("ended_at", admin.EmptyFieldListFilter)]
