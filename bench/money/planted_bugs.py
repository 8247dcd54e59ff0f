"""Thirty bugs that somebody could write into the money code, each in one place and in one sentence.

`bench mutants` plants them one at a time in a copy of the tree. An exact text that no longer
occurs once in its file is an error there and in `bench/test_mutants.py`: mend the bug's text.
"""

from __future__ import annotations

from dataclasses import dataclass

SERVICES = "rewards/services/"
TESTS = "rewards/tests/"


@dataclass(frozen=True)
class PlantedBug:
    """`exact`, which occurs once in `file`, becomes `replacement`; one of `tests` should fail."""

    name: str
    file: str
    exact: str
    replacement: str
    sentence: str
    tests: tuple[str, ...]
    caught_at_first: bool = True
    """False for one that no test of the suite caught when it was planted for the first time."""


def _bug(
    name: str,
    file: str,
    exact: str,
    replacement: str,
    sentence: str,
    *tests: str,
    first: bool = True,
) -> PlantedBug:
    return PlantedBug(
        name, file, exact, replacement, sentence, tuple(TESTS + test for test in tests), first
    )


LEDGER, BATCHES = f"{SERVICES}ledger.py", f"{SERVICES}batches.py"
SETTLEMENTS, REFUNDS = f"{SERVICES}settlements.py", f"{SERVICES}refunds.py"
DEPOSITS, CLAIMS = f"{SERVICES}deposits.py", f"{SERVICES}claims.py"
EPOCHS, EPOCH_BOOKS = f"{SERVICES}epochs.py", f"{SERVICES}epoch_books.py"
INCOME, SLASHES = f"{SERVICES}stake_income.py", f"{SERVICES}slashes.py"
SIGNED, RECONCILE = f"{SERVICES}signed_payments.py", f"{SERVICES}reconcile.py"
MONEY, MERKLE = "openledger_site/core/money.py", "rewards/merkle.py"

BUGS = (
    _bug(
        "posting_repeat_with_other_legs",
        LEDGER,
        'if dict(row.entries.values_list("account_id", "amount_wei")) != amounts:',
        "if not amounts:",
        "A key that stands for other amounts is answered as if they had been booked.",
        "test_ledger.py",
    ),
    _bug(
        "hold_ignores_other_holds",
        LEDGER,
        "if account.available_wei < amount_wei:",
        "if account.balance_wei < amount_wei:",
        "A hold is measured by the balance, not by what other holds leave of it.",
        "test_ledger.py",
    ),
    _bug(
        "posted_hold_voided_in_silence",
        LEDGER,
        "        if row.state == Hold.State.POSTED:\n            raise HoldResolved()\n",
        "",
        "Freeing a hold that was spent already says nothing.",
        "test_ledger.py",
    ),
    _bug(
        "holds_expire_too_early",
        LEDGER,
        "expires_at__lt=Now()",
        "expires_at__gt=Now()",
        "Holds are freed while they are still good, and kept when their time is over.",
        "test_ledger.py",
    ),
    _bug(
        "batch_spends_held_wei",
        BATCHES,
        "elif balance < account.held_wei:",
        "elif balance < 0:",
        "A batch does not look at what is held.",
        "test_batches.py",
    ),
    _bug(
        "batch_repeat_with_other_legs",
        BATCHES,
        "return known[0] if known[1] == amounts else PostingDiffers(where=posting.key)",
        "return known[0]",
        "A batch takes any posting under a known key for the one that was booked.",
        "test_batches.py",
    ),
    _bug(
        "fee_above_its_hold",
        SETTLEMENTS,
        "if not 0 <= fee_wei <= held.amount_wei:",
        "if not 0 <= fee_wei:",
        "An answer may cost more than was reserved for it.",
        "test_settlements.py",
    ),
    _bug(
        "settled_again_with_another_fee",
        SETTLEMENTS,
        "if (existing.hold_id, existing.fee_wei) != (held.pk, fee_wei):",
        "if existing.hold_id != held.pk:",
        "A repeat with another fee is answered with the first settlement.",
        "test_settlements.py",
    ),
    _bug(
        "left_over_wei_to_the_smallest_remainder",
        MONEY,
        "key=lambda i: (-remainders[i], i)",
        "key=lambda i: (remainders[i], i)",
        "The wei that a split leaves over go to those who are owed least of them.",
        "test_random_splits.py",
    ),
    _bug(
        "equal_remainders_to_the_last",
        MONEY,
        "key=lambda i: (-remainders[i], i)",
        "key=lambda i: (-remainders[i], -i)",
        "Of two equal remainders the later place gets the wei.",
        "test_random_splits.py",
    ),
    _bug(
        "builders_part_becomes_dust",
        SETTLEMENTS,
        "        platform_wei += builder_wei\n",
        "        dust_wei += builder_wei\n",
        "The builder's part of a base model's fee is lost among the dust.",
        "test_settlements.py",
    ),
    _bug(
        "second_share_of_a_person_replaces_the_first",
        SETTLEMENTS,
        "weights[user_id] += weight",
        "weights[user_id] = weight",
        "Of two shares of one person only the last one counts.",
        "test_properties.py",
        "test_settlements.py",
    ),
    _bug(
        "second_weight_of_a_target_replaces_the_first",
        SETTLEMENTS,
        "weights[subject] += weight",
        "weights[subject] = weight",
        "Of two weights of one thing that was staked on only the last one counts.",
        "test_properties.py",
        "test_settlements.py",
    ),
    _bug(
        "refund_after_the_stakers_were_paid",
        SETTLEMENTS,
        "if released or paid_on.exists() or timezone.now() >= refund_window_ends(settlement):",
        "if released or timezone.now() >= refund_window_ends(settlement):",
        "A fee is given back though the stakers' part of it has been set aside for them.",
        "test_stake_income.py::test_no_refund_takes_from_the_part_of_another_answer",
        first=False,
    ),
    _bug(
        "refunded_earnings_stay_held",
        SETTLEMENTS,
        "lines.update(state=EarningLine.State.REFUNDED, moved_by=settlement.refund)",
        "lines.update(moved_by=None)",
        "After a refund the earnings still wait, and are released a second time.",
        "test_settlements.py",
        "test_refunds.py",
    ),
    _bug(
        "earnings_released_before_their_time",
        SETTLEMENTS,
        "state=EarningLine.State.HOLDING, matures_at__lte=Now()",
        "state=EarningLine.State.HOLDING",
        "Earnings are payable before the refund window is over.",
        "test_settlements.py",
    ),
    _bug(
        "refund_request_holds_nothing_back",
        REFUNDS,
        "        _lines(settlement).update(matures_at=decide_by)\n",
        "",
        "Earnings are released while a request for a refund is being decided.",
        "test_refunds.py",
    ),
    _bug(
        "leaf_is_not_cumulative",
        EPOCH_BOOKS,
        "amount_wei + coalesce(before.wei, 0)",
        "amount_wei",
        "A leaf promises what an epoch adds, not all that was ever earned.",
        "test_epoch_books.py",
    ),
    _bug(
        "paid_at_an_unlinked_wallet",
        EPOCH_BOOKS,
        "WHERE chain_id = %s AND unlinked_at IS NULL AND",
        "WHERE chain_id = %s AND",
        "An epoch pays at a wallet that its owner has unlinked.",
        "test_epoch_books.py",
        first=False,
    ),
    _bug(
        "epoch_closed_though_frozen",
        EPOCHS,
        "        raise PayoutsFrozen()\n",
        "        pass\n",
        "A difference in the books does not stop the next epoch.",
        "test_epochs.py::test_a_planted_wei_is_found_and_freezes_payouts",
    ),
    _bug(
        "leaf_hashed_once",
        MERKLE,
        "return keccak256(keccak256(encoded))",
        "return keccak256(encoded)",
        "A payout leaf is hashed once, so the contract accepts no proof of it.",
        "test_merkle.py",
    ),
    _bug(
        "voided_claim_stays_with_its_payouts",
        CLAIMS,
        "        EpochPayout.objects.filter(claim=claim).update(claim=None)\n",
        "",
        "A claim whose block left the chain can never be booked again.",
        "test_claims.py",
        first=False,
    ),
    _bug(
        "deposits_before_finality",
        DEPOSITS,
        "head = client.finalized_block()",
        "head = client.latest_block()",
        "A deposit is credited as soon as it is mined.",
        "test_deposits.py::test_a_final_deposit_is_credited_once",
    ),
    _bug(
        "voided_deposit_takes_what_is_held",
        DEPOSITS,
        "taken = min(deposit.amount_wei, account.available_wei)",
        "taken = min(deposit.amount_wei, account.balance_wei)",
        "Taking a deposit back reaches for wei that an answer under way has reserved.",
        "test_deposits.py::test_a_voided_deposit_leaves_what_an_answer_has_reserved",
        first=False,
    ),
    _bug(
        "debt_paid_back_twice",
        DEPOSITS,
        "update(debt_wei=earlier.debt_wei - paid)",
        "update(debt_wei=earlier.debt_wei)",
        "What a voided deposit owes is taken from every later deposit again.",
        "test_deposits.py::test_a_debt_is_paid_back_once",
        first=False,
    ),
    _bug(
        "round_takes_what_it_has_already",
        INCOME,
        "withdraw_wei=max(0, targets_wei - float_wei(addresses.chain_id)),",
        "withdraw_wei=targets_wei,",
        "A round takes from the escrow what an earlier one took and did not pay in.",
        "test_stake_income.py"
        "::test_a_target_that_everybody_left_in_between_is_paid_by_the_next_round",
    ),
    _bug(
        "slash_above_the_cap",
        SLASHES,
        "if target is None or amount_wei > cap_wei:",
        "if target is None:",
        "The site announces slashes above the cap that was voted for.",
        "test_slashes.py::test_the_site_refuses_more_than_the_voted_cap_and_a_second_slash",
    ),
    _bug(
        "signature_paid_less",
        SIGNED,
        "if authorization.amount_wei < terms.amount_wei:",
        "if authorization.amount_wei < 1:",
        "A signature over less than the price is accepted.",
        "test_signed_payments.py::test_other_terms_are_refused_and_nothing_is_queued",
    ),
    _bug(
        "signature_pays_for_two_things",
        SIGNED,
        "if payment is not None and not is_fingerprint(payment.fingerprint, fingerprint, USE):",
        "if payment is not None and not payment.fingerprint:",
        "One signature pays for as many different answers as one likes.",
        "test_signed_payments.py::test_one_signature_is_one_payment_and_only_for_one_thing",
    ),
    _bug(
        "reconcile_believes_rows_without_event",
        RECONCILE,
        "for place in on_chain | booked if",
        "for place in on_chain if",
        "A deposit in the books that never was on chain is not reported as one.",
        "test_epochs.py::test_a_deposit_of_the_books_that_no_block_has_is_found",
        first=False,
    ),
)
