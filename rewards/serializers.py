"""The JSON of balances, claims, withdrawals and contracts.

Wei are text: JSON numbers lose digits past 2^53.
"""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from openledger_site.core.money import WEI_MAX, format_open
from rewards.selectors.withdrawals import progress_of


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


class AskWithdrawalSerializer(serializers.Serializer[Any]):
    """Wei as text, and a wallet that is linked to the caller."""

    amount_wei = serializers.RegexField(
        r"^[0-9]{1,78}$", error_messages={"invalid": "Write a whole number of wei."}
    )
    address = serializers.CharField(max_length=42)

    def validate_amount_wei(self, text: str) -> int:
        if int(text) > WEI_MAX:
            raise serializers.ValidationError("More than there can be.")
        return int(text)


class WithdrawalSerializer(serializers.Serializer[Any]):
    """`state` is waiting, paid, returned or cancelled; `waits_for` says in words what holds it up.

    DELETE cancels it while `can_be_cancelled`: until it is signed.
    """

    id = serializers.CharField(source="public_id")
    amount_wei = serializers.CharField()
    address = serializers.CharField()
    state = serializers.CharField()
    transaction_hash = serializers.CharField(source="chain_transaction.transaction_hash")
    waits_for = serializers.SerializerMethodField()
    can_be_cancelled = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField()

    def get_waits_for(self, withdrawal: Any) -> str:
        return progress_of(withdrawal).words
