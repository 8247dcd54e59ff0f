"""The JSON of balances, claims and contracts. Wei are text: JSON numbers lose digits past 2^53."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from openledger_site.core.money import format_open


class BalanceSerializer(serializers.Serializer[dict[str, Any]]):
    spendable_wei = serializers.CharField()
    held_wei = serializers.CharField()
    holding_wei = serializers.CharField()
    payable_wei = serializers.CharField()
    claimable_wei = serializers.CharField()
    claimed_wei = serializers.CharField()
    spendable_open = serializers.SerializerMethodField()

    def get_spendable_open(self, balance: dict[str, Any]) -> str:
        return format_open(balance["spendable_wei"], digits=18)


class ClaimSerializer(serializers.Serializer[Any]):
    """Arguments of the distributor's `claim`; send them from any account with gas."""

    account = serializers.CharField()
    cumulative_wei = serializers.CharField()
    amount_wei = serializers.CharField()
    # The metaclass takes declared fields off the class, so `Serializer.root` stays what it is.
    root = serializers.CharField()  # type: ignore[assignment]
    proof = serializers.ListField(child=serializers.CharField())
    distributor = serializers.CharField()
    chain_id = serializers.IntegerField()
    epoch = serializers.IntegerField()


class ClaimListSerializer(serializers.Serializer[dict[str, Any]]):
    claims = ClaimSerializer(many=True)


class ContractsSerializer(serializers.Serializer[Any]):
    chain_id = serializers.IntegerField()
    token = serializers.CharField()
    escrow = serializers.CharField()
    distributor = serializers.CharField()
    anchors = serializers.CharField()
    governor = serializers.CharField()
    timelock = serializers.CharField()
    parameters = serializers.CharField()
    staking = serializers.CharField()
    deployed_block = serializers.IntegerField()
