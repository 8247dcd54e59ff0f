"""The arithmetic of fees in OPEN: whatever gas costs, what is taken covers what is spent."""

from __future__ import annotations

from eth_account import Account as KeyAccount
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.chain.calls import ContractCall
from rewards.chain.transactions import Fees, SignedTransaction, Signer
from rewards.relay_fees import FeeTerms, terms_for

GWEI = 10**9
BASE_FEES = st.integers(0, 10_000 * GWEI)
TIPS = st.integers(0, 100 * GWEI)
SIGNER = Signer(KeyAccount.create().key, 31337)
NOWHERE = ContractCall("0x" + "77" * 20, b"")


def market(base_fee: int, tip: int) -> Fees:
    """As `ChainClient.estimate_fees`."""
    return Fees(2 * base_fee + tip, tip)


def price_in_block(fees: Fees, base_fee: int) -> int | None:
    """What a block takes (EIP-1559); None when it does not take the transaction."""
    if fees.max_fee_per_gas_wei < base_fee:
        return None
    return min(fees.max_fee_per_gas_wei, base_fee + fees.max_priority_fee_per_gas_wei)


def replaced_within(signed: SignedTransaction, cap_wei: int, now: Fees) -> SignedTransaction:
    """As the sender does with a stuck one that a person pays for."""
    replacement = SIGNER.replace(signed, now)
    return replacement if replacement.fees.max_fee_per_gas_wei <= cap_wei else signed


@settings(deadline=None)  # it signs up to eight times
@given(
    quoted=st.tuples(BASE_FEES, TIPS),
    later=st.lists(st.tuples(BASE_FEES, TIPS), min_size=1, max_size=7),
    gas_limit=st.integers(21_000, 2_000_000),
    used_percent=st.integers(1, 100),
    rate=st.integers(1, 10**6),
)
def test_the_relayer_never_ends_below_zero_whatever_gas_costs_in_between(
    quoted: tuple[int, int], later: list[tuple[int, int]], gas_limit: int, used_percent: int,
    rate: int,
) -> None:  # fmt: skip
    terms = terms_for(gas_limit, market(*quoted), rate)
    cap_wei = terms.max_fee_per_gas_wei
    fees = market(*later[0]).under(cap_wei)
    if fees is None:
        return  # not signed, not sent: nothing is spent, nothing is taken
    signed = SIGNER.sign(NOWHERE, nonce=0, gas_limit=gas_limit, fees=fees)
    for base_fee, tip in later:
        price = price_in_block(signed.fees, base_fee)
        if price is not None:
            spent_eth = gas_limit * used_percent // 100 * price
            fee = min(terms.most_wei, terms.cost_wei(gas_limit * used_percent // 100, price))
            assert fee == spent_eth * rate
        signed = replaced_within(signed, cap_wei, market(base_fee, tip))
        assert signed.fees.max_fee_per_gas_wei <= cap_wei


@given(base_fee=BASE_FEES, tip=TIPS, cap_wei=st.integers(1, 20_000 * GWEI))
def test_fees_under_a_cap_are_taken_by_a_block_now_or_not_made(
    base_fee: int, tip: int, cap_wei: int
) -> None:
    fees = market(base_fee, tip).under(cap_wei)
    if fees is None:
        assert cap_wei < base_fee + tip
    else:
        assert fees.max_priority_fee_per_gas_wei <= fees.max_fee_per_gas_wei <= cap_wei
        assert fees.max_fee_per_gas_wei >= base_fee + tip


def test_a_fee_is_gas_times_price_times_rate() -> None:
    terms = FeeTerms(gas_limit=200_000, max_fee_per_gas_wei=2 * GWEI, open_per_eth=20)
    assert terms.most_wei == 8 * 10**15  # 0.008 OPEN for at most 0.0004 ETH
    assert terms.cost_wei(100_000, GWEI) == 2 * 10**15
