"""One paid answer: its fee leaves the payer's hold and reaches everybody who had a part in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from openledger_site.accounts.models import User
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict, DomainError
from openledger_site.core.money import split_wei
from rewards.models import (
    Account,
    EarningLine,
    Hold,
    RefundRequest,
    Settlement,
    SplitParameters,
    StakerShare,
    Transaction,
)
from rewards.models.settlements import PARTS_PER_MILLION
from rewards.selectors.parameters import split_parameters
from rewards.services.ledger import (
    HoldResolved,
    InsufficientFunds,
    Leg,
    PostingDiffers,
    post,
    system_account,
    user_account,
    void_hold,
)

Kind = Account.Kind
Role = EarningLine.Role
Shares = Sequence[tuple[int, int]]  # (user id, weight)
Targets = Sequence[tuple[str, int]]  # (subject of what can be staked on, weight)


class RefundTooLate(Conflict):
    code = "refund_too_late"
    message = (
        "The refund window of this answer is over: its earnings are payable to those who earned"
        " them. Nothing was changed."
    )


class FeeOutsideHold(DomainError):
    code = "fee_invalid"
    message = "The fee is not within the reserved amount."


@dataclass(frozen=True)
class MakerPart:
    """What the maker of an agent asked on top of its model's price, within the fee."""

    user_id: int
    amount_wei: int


@dataclass(frozen=True)
class FeeSplit:
    """A fee in wei, cut. `earnings` has one amount a (user id, role), none of them zero."""

    earnings: dict[tuple[int, str], int]
    reserve_wei: int
    stakers_wei: int
    platform_wei: int
    dust_wei: int

    def earned_wei(self, role: str) -> int:
        return sum(amount for (_, earner), amount in self.earnings.items() if earner == role)

    def parts(self) -> dict[str, int]:
        """The seven parts of a settlement; they sum to the fee."""
        return {
            "contributors_wei": self.earned_wei(Role.CONTRIBUTOR),
            "reserve_wei": self.reserve_wei,
            "builder_wei": self.earned_wei(Role.BUILDER),
            "stakers_wei": self.stakers_wei,
            "platform_wei": self.platform_wei,
            "dust_wei": self.dust_wei,
            "maker_wei": self.earned_wei(Role.MAKER),
        }


def split_fee(
    fee_wei: int,
    parameters: SplitParameters,
    builder_id: int | None,
    shares: Shares,
    maker: MakerPart | None = None,
) -> FeeSplit:
    """Cut a fee by the parameters; what the parts per million leave over (≤ 3 wei) is dust.

    What the `maker` of an agent asked on top is theirs whole: the rest is cut as without an agent.

    The contributors' part goes by largest remainder over the weights, in order of user id; without
    any weight it goes to the contributors' reserve. Without a builder (a base model) the builder's
    part stays with the platform.
    """
    maker_wei = maker.amount_wei if maker else 0
    shared_wei = fee_wei - maker_wei
    contributors_wei, builder_wei, stakers_wei, platform_wei = (
        shared_wei * ppm // PARTS_PER_MILLION
        for ppm in (
            parameters.contributors_ppm,
            parameters.builder_ppm,
            parameters.stakers_ppm,
            parameters.platform_ppm,
        )
    )
    dust_wei = shared_wei - contributors_wei - builder_wei - stakers_wei - platform_wei
    weights: dict[int, int] = defaultdict(int)
    for user_id, weight in shares:
        weights[user_id] += weight
    people = sorted(weights)
    parts = split_wei(contributors_wei, [weights[user_id] for user_id in people])
    earnings = {
        (user_id, str(Role.CONTRIBUTOR)): part
        for user_id, part in zip(people, parts, strict=True)
        if part
    }
    if builder_id is None:
        platform_wei += builder_wei
    elif builder_wei:
        earnings[builder_id, str(Role.BUILDER)] = builder_wei
    if maker and maker_wei:
        earnings[maker.user_id, str(Role.MAKER)] = maker_wei
    return FeeSplit(
        earnings=earnings,
        reserve_wei=contributors_wei - sum(parts),
        stakers_wei=stakers_wei,
        platform_wei=platform_wei,
        dust_wei=dust_wei,
    )


def settle_answer(
    *,
    hold: Hold,
    key: str,
    fee_wei: int,
    builder: User | None,
    contributor_shares: Shares,
    reason: str,
    source_url: str,
    stake_targets: Targets = (),
    maker: MakerPart | None = None,
) -> Settlement:
    """Charge `fee_wei` of a pending hold and free the rest; earnings wait in *holding*.

    `contributor_shares` are (user id, integer weight ≥ 0); `stake_targets` say whose stakers get
    the stakers' part, by largest remainder in order of the subject; without any weight it is the
    treasury's (docs/decisions/0024). `maker` is paid out of the fee first (0045). Exactly once per
    `key`: a repeat returns the first settlement. Raises `HoldResolved`, `PostingDiffers` (same key,
    other fee or hold), and `FeeOutsideHold`.
    """
    with transaction.atomic():
        # Only the hold is locked here; accounts are locked by the posting, in id order.
        held = (
            Hold.objects.select_for_update(of=("self",))
            .select_related("account__owner")
            .get(pk=hold.pk)
        )
        existing = Settlement.objects.filter(key=key).first()
        if existing is not None:
            if (existing.hold_id, existing.fee_wei) != (held.pk, fee_wei):
                raise PostingDiffers(where=key)
            return existing
        payer = held.account.owner
        if held.state != Hold.State.PENDING or payer is None:
            raise HoldResolved()
        if not 0 <= fee_wei <= held.amount_wei:
            raise FeeOutsideHold(where="fee_wei", limit=held.amount_wei)
        if maker is not None and not 0 <= maker.amount_wei <= fee_wei:
            raise FeeOutsideHold(where="maker", limit=fee_wei)
        parameters = split_parameters()
        builder_id = builder.pk if builder else None
        split = split_fee(fee_wei, parameters, builder_id, contributor_shares, maker)
        posted = _charge(held, key, fee_wei, split, reason, source_url)
        settlement = Settlement.objects.create(
            key=key,
            hold=held,
            transaction=posted,
            payer=payer,
            parameters=parameters,
            fee_wei=fee_wei,
            reason=reason,
            source_url=source_url,
            **split.parts(),
        )
        _write_lines(settlement, split, parameters.holding_seconds_in_force)
        _write_staker_shares(settlement, stake_targets, parameters.holding_seconds_in_force)
        record_audit(
            "answer.settle",
            actor=payer,
            subject=f"settlement:{settlement.pk}",
            fee_wei=str(fee_wei),
            parameters=parameters.version,
        )
    return settlement


def _charge(
    held: Hold, key: str, fee_wei: int, split: FeeSplit, reason: str, source_url: str
) -> Transaction | None:
    """Post the hold for the fee; without a fee it is freed and nothing is posted."""
    if fee_wei == 0:
        void_hold(held)
        return None
    people = User.objects.in_bulk([user_id for user_id, _ in split.earnings])
    return post(
        key=f"answer:{key}",
        kind="answer",
        legs=[(held.account, -fee_wei), *_income_legs(split, people)],
        reason=reason,
        source_url=source_url,
        hold=held,
    )


def _income_legs(split: FeeSplit, people: dict[int, User]) -> list[Leg]:
    legs = [
        (user_account(people[user_id], Kind.HOLDING), amount)
        # One order for everybody: opening accounts in circles would be a deadlock.
        for (user_id, _), amount in sorted(split.earnings.items())
    ]
    legs += [
        (system_account(kind), amount)
        for kind, amount in (
            (Kind.RESERVE, split.reserve_wei),
            (Kind.STAKERS, split.stakers_wei),
            (Kind.FEES, split.platform_wei),
            (Kind.DUST, split.dust_wei),
        )
        if amount
    ]
    return legs


def _write_lines(settlement: Settlement, split: FeeSplit, holding_seconds: int) -> None:
    matures_at = Now() + timedelta(seconds=holding_seconds)
    EarningLine.objects.bulk_create(
        EarningLine(
            settlement=settlement,
            user_id=user_id,
            role=role,
            amount_wei=amount,
            matures_at=matures_at,
        )
        for (user_id, role), amount in split.earnings.items()
    )


def _write_staker_shares(settlement: Settlement, targets: Targets, holding_seconds: int) -> None:
    """Say whose stakers this part is for; it waits as long as the earnings do."""
    if settlement.stakers_wei == 0:
        return
    parts = split_stakers_part(settlement.stakers_wei, targets)
    StakerShare.objects.bulk_create(
        StakerShare(
            settlement=settlement,
            subject=subject,
            amount_wei=amount,
            matures_at=Now() + timedelta(seconds=holding_seconds),
        )
        for subject, amount in parts.items()
    )


def split_stakers_part(stakers_wei: int, targets: Targets) -> dict[str, int]:
    """Wei by subject; all of it under "" when no target has a weight."""
    weights: dict[str, int] = defaultdict(int)
    for subject, weight in targets:
        weights[subject] += weight
    if not sum(weights.values()):
        return {"": stakers_wei}
    subjects = sorted(weights)
    parts = split_wei(stakers_wei, [weights[subject] for subject in subjects])
    return {subject: part for subject, part in zip(subjects, parts, strict=True) if part}


def refund_answer(key: str, *, reason: str = "Answer refunded") -> Settlement:
    """Give the whole fee of an answer back, while all of its earnings are still held back.

    Refunding twice changes nothing. Raises `RefundTooLate` once a part is payable, or the window is
    over: an answer that paid nobody has one too.
    """
    with transaction.atomic():
        settlement = (
            Settlement.objects.select_for_update(of=("self",))
            .select_related("transaction", "payer")
            .get(key=key)
        )
        if settlement.refund_id is not None or settlement.transaction is None:
            return settlement
        lines = EarningLine.objects.select_for_update().filter(settlement=settlement).order_by("pk")
        paid_on = settlement.staker_shares.filter(payment__isnull=False)
        released = any(line.state != EarningLine.State.HOLDING for line in lines)
        if released or paid_on.exists() or timezone.now() >= refund_window_ends(settlement):
            raise RefundTooLate()
        entries = settlement.transaction.entries.select_related("account")
        try:
            settlement.refund = post(
                key=f"refund:{key}",
                kind="refund",
                legs=[(entry.account, -entry.amount_wei) for entry in entries],
                reason=reason,
                source_url=settlement.source_url,
            )
        except InsufficientFunds:
            raise RefundTooLate(
                "A part of this fee has left the account that it was paid to, so it cannot be"
                " reversed any more."
            ) from None
        lines.update(state=EarningLine.State.REFUNDED, moved_by=settlement.refund)
        settlement.save(update_fields=["refund"])
        record_audit(
            "answer.refund",
            actor=settlement.payer,
            subject=f"settlement:{settlement.pk}",
            fee_wei=str(settlement.fee_wei),
        )
    return settlement


def refund_window_ends(settlement: Settlement) -> datetime:
    """Until when its fee can be given back: longer while a request waits for its decision."""
    seconds = settlement.parameters.holding_seconds_in_force
    ends: datetime = settlement.created_at + timedelta(seconds=seconds)
    request = RefundRequest.objects.filter(
        settlement=settlement, state=RefundRequest.State.OPEN
    ).first()
    return max(ends, request.decide_by) if request else ends


def release_earnings(limit: int = 1_000) -> int:
    """Move earnings whose refund window is over from holding to payable; return how many lines."""
    with transaction.atomic():
        lines = list(
            EarningLine.objects.select_for_update(skip_locked=True, of=("self",))
            .select_related("user")
            .filter(state=EarningLine.State.HOLDING, matures_at__lte=Now())
            .order_by("pk")[:limit]
        )
        if not lines:
            return 0
        legs: list[Leg] = []
        for line in lines:
            legs.append((user_account(line.user, Kind.HOLDING), -line.amount_wei))
            legs.append((user_account(line.user, Kind.PAYABLE), line.amount_wei))
        # The rows' own state makes this once only; the key only has to be new.
        released = post(
            key=f"release:{lines[0].pk}-{lines[-1].pk}:{len(lines)}",
            kind="release",
            legs=legs,
            reason="Refund window over",
        )
        EarningLine.objects.filter(pk__in=[line.pk for line in lines]).update(
            state=EarningLine.State.PAYABLE, moved_by=released
        )
    return len(lines)
