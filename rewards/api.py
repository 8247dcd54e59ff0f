"""Balances and claims for programs. Keys need the scope `rewards`."""

from __future__ import annotations

from dataclasses import asdict
from typing import cast

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from openledger_site.accounts.authentication import HasScope
from openledger_site.accounts.models import User
from rewards import selectors
from rewards.serializers import BalanceSerializer, ClaimListSerializer, ContractsSerializer
from rewards.services.chain import contract_addresses


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
