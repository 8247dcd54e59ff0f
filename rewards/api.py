"""Balances, claims and withdrawals for programs. Keys need the scope `rewards`, to take money out
`withdraw`: a key made to read cannot."""

from __future__ import annotations

from dataclasses import asdict
from typing import cast
from uuid import UUID

from django.contrib.auth.decorators import login_not_required
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import api_view, permission_classes
from rest_framework.permissions import SAFE_METHODS, AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from openledger_site.accounts.authentication import HasScope
from openledger_site.accounts.models import User
from openledger_site.core.errors import DomainError
from openledger_site.core.idempotency import idempotent
from rewards import selectors, services
from rewards.selectors.withdrawals import withdrawal_for, withdrawals_of
from rewards.serializers import (
    AskWithdrawalSerializer,
    BalanceSerializer,
    ClaimListSerializer,
    ContractsSerializer,
    WithdrawalSerializer,
)
from rewards.services.chain import contract_addresses

WITHDRAWALS_MAX = 100


class BalanceView(APIView):
    permission_classes = [HasScope]
    required_scope = "rewards"

    @extend_schema(responses=BalanceSerializer)
    def get(self, request: Request) -> Response:
        """The caller's balance and earnings, in wei."""
        user = cast(User, request.user)
        balance = selectors.balance_of(user)
        answer = {"spendable_wei": balance.available_wei, "held_wei": balance.held_wei}
        answer |= asdict(selectors.earnings_summary(user))
        return Response(BalanceSerializer(answer).data)


class ClaimView(APIView):
    permission_classes = [HasScope]
    required_scope = "rewards"

    @extend_schema(responses=ClaimListSerializer)
    def get(self, request: Request) -> Response:
        """What the caller can claim on chain now, with root and proof; one entry an address."""
        claims = selectors.claims_open_for(cast(User, request.user))
        return Response(ClaimListSerializer({"claims": claims}).data)


class ContractsView(APIView):
    permission_classes = [AllowAny]
    authentication_classes = []

    @extend_schema(responses=ContractsSerializer)
    def get(self, request: Request) -> Response:
        """Where the contracts are. 503 before they are deployed."""
        return Response(ContractsSerializer(contract_addresses()).data)


class HasMoneyScope(HasScope):
    """Reading takes the scope `rewards`, taking money out and calling it back `withdraw`."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        scope = "rewards" if request.method in SAFE_METHODS else "withdraw"
        view.required_scope = scope  # type: ignore[attr-defined] # what HasScope reads
        return super().has_permission(request, view)


@extend_schema(
    request=AskWithdrawalSerializer,
    responses={200: WithdrawalSerializer(many=True), 202: WithdrawalSerializer},
)
@login_not_required  # DRF answers 401 or 403 itself
@idempotent
@api_view(["GET", "POST"])
@permission_classes([HasMoneyScope])
def withdrawal_collection(request: Request) -> Response:
    """The caller's newest withdrawals, or a new one: 202, because the chain takes its time."""
    user = cast(User, request.user)
    if request.method == "POST":
        asked = AskWithdrawalSerializer(data=request.data)
        if not asked.is_valid():
            field, problems = next(iter(asked.errors.items()))
            raise DomainError(str(problems[0]), where=field, code="invalid")
        withdrawal = services.ask_withdrawal(user=user, **asked.validated_data)
        return Response(WithdrawalSerializer(withdrawal).data, status=202)
    return Response(WithdrawalSerializer(withdrawals_of(user)[:WITHDRAWALS_MAX], many=True).data)


@extend_schema(responses=WithdrawalSerializer)
@login_not_required
@api_view(["GET", "DELETE"])
@permission_classes([HasMoneyScope])
def withdrawal_item(request: Request, public_id: UUID) -> Response:
    """One withdrawal, or DELETE: cancelled, if it is not signed yet. It stays readable."""
    user = cast(User, request.user)
    withdrawal = withdrawal_for(user, public_id)
    if request.method == "DELETE":
        withdrawal = services.cancel_withdrawal(withdrawal=withdrawal, actor=user)
    return Response(WithdrawalSerializer(withdrawal).data)
