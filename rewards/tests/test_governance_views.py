"""The pages of votes: what they show without a chain, and what a proposal would have meant."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from pytest_django.fixtures import Settings

from openledger_site.accounts.models import User, Wallet
from rewards.chain.calls import ContractCall, approve_call
from rewards.chain.contracts import Addresses
from rewards.chain.governance import set_fee_split_call
from rewards.chain.vesting import grant_call
from rewards.models import GovernanceReading, Proposal, VotingPower
from rewards.selectors.simulation import simulate_holding, simulate_split
from rewards.services import place_hold, refund_answer, settle_answer, split_parameters
from rewards.tests.conftest import OPEN, Fund
from rewards.vesting import Schedule
from rewards.views.actions import decode_action

pytestmark = pytest.mark.django_db
LIST, NEW = "/rewards/governance/", "/rewards/governance/new/fee-split/"
A = "0x" + "A" * 40
GRANT = {"wallet": A.lower(), "amount": "1", "begins": "2028-01-01", "cliff": "0", "days": "30"}
SPLIT = {
    "contributors": "60",
    "builder": "30",
    "stakers": "5",
    "platform": "5",
    "title": "More for  builders",
    "reason": "They bring the users.",
}


@pytest.fixture
def contracts(settings: Settings, tmp_path: Path) -> Addresses:
    """An address file as deployment leaves it; no page here asks a node."""
    one = "0x" + "1" * 40
    addresses = Addresses(31337, A, one, one, one, 1, "0x" + "11" * 32, "")
    addresses = replace(addresses, governor=one, timelock=one, parameters=A, staking=one)
    addresses = replace(addresses, vesting="0x" + "2" * 40)
    settings.CHAIN_ADDRESSES_FILE = tmp_path / "addresses.json"
    settings.CHAIN_RPC_URL = "http://127.0.0.1:1"
    addresses.save(settings.CHAIN_ADDRESSES_FILE)
    return addresses


@pytest.fixture
def reading(db: None) -> GovernanceReading:
    return GovernanceReading.objects.create(
        chain_id=31337,
        read_at=timezone.now(),
        read_block=7,
        treasury_wei=5 * OPEN,
        proposal_threshold_wei=10 * OPEN,
        timelock_delay_seconds=60,
    )


@pytest.fixture
def proposal(db: None) -> Proposal:
    return make_proposal()


def make_proposal(number: int = 1, **changes: object) -> Proposal:
    call = set_fee_split_call(A, [6_000, 3_000, 500, 500])
    fields: dict[str, object] = {
        "chain_id": 31337,
        "transaction_hash": f"0x{number:064x}",
        "log_index": 0,
        "block_number": 1,
        "block_hash": "0x" + "b" * 64,
        "governor": "0x" + "1" * 40,
        "proposal_id": str(number),
        "proposer": A,
        "actions": [{"target": A, "value_wei": "0", "data": "0x" + call.data.hex()}],
        "title": "More for builders",
        "description": "# More for builders\n\n<script>alert(1)</script>",
        "description_hash": "0x" + "d" * 64,
        "vote_start": timezone.now(),
        "vote_end": timezone.now() + timedelta(days=1),
        "state": "active",
        "for_wei": 30 * OPEN,
        "abstain_wei": 20 * OPEN,
        "quorum_wei": 100 * OPEN,
        "read_block": 9,
        "read_at": timezone.now(),
    }
    return Proposal.objects.create(**(fields | changes))


def pay(consumer: User, builder: User | None, contributor: User, key: str) -> None:
    settle_answer(
        hold=place_hold(consumer, OPEN, key=key, reason="Answer"),
        key=key,
        fee_wei=OPEN,
        builder=builder,
        contributor_shares=[(contributor.pk, 1)],
        reason="Answer",
        source_url="",
    )


def test_anybody_reads_the_votes_and_nobody_asks_a_node_for_them(
    client: Client, contracts: Addresses, reading: GovernanceReading, proposal: Proposal
) -> None:
    content = client.get(LIST).content.decode()
    assert "More for builders" in content
    assert "block 7" in content
    content = client.get(f"{LIST}{proposal.public_id}/").content.decode()
    assert "Contributors 60 %, Builder 30 %" in content
    assert "50%" in content or "50 %" in content  # of the quorum: for and abstain
    assert "<script>alert" not in content


@pytest.mark.parametrize(
    ("state", "action"),
    [
        ("pending", 'data-wallet="cancel-vote"'),
        ("active", 'data-wallet="vote"'),
        ("succeeded", 'data-wallet="queue"'),
        ("queued", 'data-wallet="execute"'),
        ("executed", ""),
        ("defeated", ""),
        ("canceled", ""),
        ("expired", ""),
    ],
)
def test_each_state_offers_its_own_next_step(
    client: Client, contracts: Addresses, reading: GovernanceReading, state: str, action: str
) -> None:
    proposal = make_proposal(state=state, executable_at=timezone.now())
    content = client.get(f"{LIST}{proposal.public_id}/").content.decode()
    assert content.count('data-wallet="') == (1 if action else 0)
    assert action in content


def test_old_figures_say_that_they_are_old_and_why(
    client: Client, contracts: Addresses, reading: GovernanceReading
) -> None:
    GovernanceReading.objects.update(problem="connection refused")
    content = client.get(LIST).content.decode()
    assert "These figures may be old" in content
    assert "its node does not answer" in content


def test_a_page_before_deployment_says_so(client: Client, settings: Settings) -> None:
    settings.CHAIN_ADDRESSES_FILE = Path("/nonexistent")
    assert "not deployed on this chain" in client.get(LIST).content.decode()


def test_a_proposal_that_is_not_there_is_404(client: Client) -> None:
    missing = "00000000-0000-4000-8000-000000000000"
    assert client.get(f"{LIST}{missing}/").status_code == 404
    assert client.get(f"{LIST}{missing}/state/").status_code == 404


def test_a_call_that_the_site_does_not_know_is_shown_as_such(
    client: Client, contracts: Addresses, reading: GovernanceReading
) -> None:
    for data in ("0xdeadbeef", "0x", set_fee_split_call(A, [1, 1, 1, 1]).data.hex()[:30]):
        action = {"target": A, "value_wei": "0", "data": data if data[:2] == "0x" else "0x" + data}
        proposal = make_proposal(int(timezone.now().timestamp() * 1e6), actions=[action])
        content = client.get(f"{LIST}{proposal.public_id}/").content.decode()
        assert "does not know" in content


def test_the_state_is_done_once_it_was_read_at_the_block(
    client: Client, proposal: Proposal
) -> None:
    url = f"{LIST}{proposal.public_id}/state/"
    assert b"data-live-done" in client.get(url, {"block": "9"}).content
    for block in ("10", "", "x", "9" * 40):
        assert b"data-live-done" not in client.get(url, {"block": block}).content


def test_a_new_proposal_is_found_by_its_transaction(
    client: Client, proposal: Proposal, stranger: User
) -> None:
    client.force_login(stranger)
    url = f"{LIST}found/"
    sought = {"transaction": proposal.transaction_hash}
    assert str(proposal.public_id) in client.get(url, sought).content.decode()
    for other in ("", "x", "0x" + "f" * 64):
        assert b"data-live-done" not in client.get(url, {"transaction": other}).content


def test_the_form_shows_the_decoded_call_and_the_simulation(
    client: Client,
    contracts: Addresses,
    reading: GovernanceReading,
    consumer: User,
    builder: User,
    contributor: User,
    fund: Fund,
) -> None:
    fund(consumer, 5 * OPEN)
    pay(consumer, builder, contributor, "a")
    client.force_login(contributor)
    response = client.post(NEW, SPLIT)
    content = response.content.decode()
    assert response.status_code == 200
    assert "Split fees: Contributors 60 %" in content
    assert 'data-description="# More for builders' in content
    assert set_fee_split_call(A, [6_000, 3_000, 500, 500]).data.hex() in content
    assert "You earned" in content


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"builder": "20"}, "make 90 %"),
        ({"builder": "-1"}, "greater than or equal to 0"),
        ({"builder": "30.001"}, "2 decimal places"),
        ({"builder": "NaN"}, "number"),
        ({"title": ""}, "required"),
        ({"reason": "x\0y"}, "Null characters"),
    ],
)
def test_a_split_that_no_vote_can_make_is_refused_in_words(
    client: Client, contracts: Addresses, stranger: User, changes: dict[str, str], words: str
) -> None:
    client.force_login(stranger)
    response = client.post(NEW, SPLIT | changes)
    assert response.status_code == 422
    assert words in response.content.decode()


@pytest.mark.parametrize(
    ("action", "fields", "words"),
    [
        ("holding", {"hours": "36"}, "Hold earnings back for 36 hours."),
        ("slashing-cap", {"cap": "12.5"}, "at most 12.5 % of a stake"),
        ("treasury", {"wallet": A.lower(), "amount": "2.5"}, "Send 2.5 OPEN from the treasury."),
        (
            "grant",
            {
                "wallet": A.lower(),
                "amount": "2.5",
                "begins": "2028-01-01",
                "cliff": "365",
                "days": "1460",
            },
            "Grant 2.5 OPEN that unlock over 1460 days, for good.",
        ),
        (
            "curator",
            {
                "wallet": A.lower(),
                "datanet": "12345678-1234-4234-8234-123456789abc",
                "decision": "appoint",
            },
            "Appoint a curator of a public Datanet.",
        ),
    ],
)
def test_every_action_of_the_form_is_a_real_call(
    client: Client,
    contracts: Addresses,
    reading: GovernanceReading,
    stranger: User,
    action: str,
    fields: dict[str, str],
    words: str,
) -> None:
    client.force_login(stranger)
    url = f"{LIST}new/{action}/"
    assert client.get(url).status_code == 200
    response = client.post(url, fields | {"title": "T", "reason": "R"})
    assert response.status_code == 200
    assert words in response.content.decode()
    assert 'data-wallet="propose"' in response.content.decode()


@pytest.mark.parametrize(
    ("action", "fields"),
    [
        ("holding", {"hours": "2161"}),
        ("slashing-cap", {"cap": "50.01"}),
        ("treasury", {"wallet": "0x" + "0" * 40, "amount": "1"}),
        ("treasury", {"wallet": A.lower()[:-1] + "z", "amount": "1"}),
        ("treasury", {"wallet": A.lower(), "amount": "0"}),
        ("treasury", {"wallet": A.lower(), "amount": "1e400"}),
        ("curator", {"wallet": A.lower(), "datanet": "physics", "decision": "appoint"}),
        ("grant", GRANT | {"cliff": "31"}),
        ("grant", GRANT | {"days": "7301"}),
        ("grant", GRANT | {"days": "0", "cliff": "0"}),
        ("grant", GRANT | {"begins": "1970-01-01"}),
    ],
)
def test_fields_beyond_the_fixed_limits_are_refused(
    client: Client, contracts: Addresses, stranger: User, action: str, fields: dict[str, str]
) -> None:
    client.force_login(stranger)
    answer = client.post(f"{LIST}new/{action}/", fields | {"title": "T", "reason": "R"})
    assert answer.status_code == 422
    assert client.get(f"{LIST}new/nothing/").status_code == 404


def test_more_than_the_treasury_holds_is_said_before_the_vote(
    client: Client, contracts: Addresses, reading: GovernanceReading, stranger: User
) -> None:
    client.force_login(stranger)
    given = {"wallet": A.lower(), "amount": "6", "title": "T", "reason": "R"}
    content = client.post(f"{LIST}new/treasury/", given).content.decode()
    assert "does not hold that much" in content


def test_the_simulation_cuts_every_answer_to_the_wei(
    consumer: User, builder: User, contributor: User, fund: Fund
) -> None:
    fund(consumer, 5 * OPEN)
    pay(consumer, builder, contributor, "a")
    pay(consumer, None, contributor, "b")
    pay(consumer, builder, contributor, "refunded")
    refund_answer("refunded")
    same = simulate_split([7_000, 2_000, 500, 500], contributor)
    assert [line.change_wei for line in same.lines] == [0] * 7
    other = simulate_split([6_000, 3_000, 500, 500], contributor)
    assert (other.answers, other.fee_wei) == (2, 2 * OPEN)
    after = {line.label: line.after_wei for line in other.lines}
    assert sum(after.values()) == 2 * OPEN
    assert after["Builders"] == OPEN * 3 // 10
    assert after["Platform"] == OPEN // 20 + OPEN * 35 // 100  # without a builder, its part too
    assert other.own is not None
    assert (other.own.before_wei, other.own.after_wei) == (OPEN * 14 // 10, OPEN * 12 // 10)


def test_a_shorter_holding_time_counts_the_refunds_it_would_have_refused(
    consumer: User, contributor: User, fund: Fund
) -> None:
    fund(consumer, 5 * OPEN)
    pay(consumer, None, contributor, "a")
    refund_answer("a")
    assert simulate_holding(3_600).too_late == 0
    assert simulate_holding(0).refunds == 1


def test_voting_power_is_shown_to_its_owner_alone(
    client: Client, contracts: Addresses, consumer: User, stranger: User
) -> None:
    Wallet.objects.create(user=consumer, address=A, chain_id=31337)
    VotingPower.objects.create(chain_id=31337, address=A, votes_wei=OPEN, read_block=5)
    url = f"{LIST}power/"
    assert client.get(url).status_code == 302
    client.force_login(consumer)
    assert b"data-live-done" in client.get(url, {"block": "5"}).content
    client.force_login(stranger)
    assert A not in client.get(url, {"block": "5"}).content.decode()


def test_the_number_of_queries_does_not_grow_with_the_proposals(
    client: Client,
    contracts: Addresses,
    reading: GovernanceReading,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(1, 15):
        make_proposal(number)
    split_parameters()
    with django_assert_max_num_queries(8):
        client.get(LIST)


def decoded(call: ContractCall, addresses: Addresses) -> str:
    stored = {"target": call.to or "", "value_wei": "0", "data": "0x" + call.data.hex()}
    action = decode_action(stored, addresses)
    assert action.is_known
    return " ".join([action.words, *(f"{name} {value}" for name, value in action.facts)])


def test_a_grant_from_the_treasury_is_told_in_words(contracts: Addresses) -> None:
    addresses = contracts
    given = Schedule(1_830_297_600, 365 * 86_400, 1_460 * 86_400)
    words = decoded(grant_call(addresses.vesting, b"\1" * 32, A, 12 * OPEN, given), addresses)
    assert "Grant 12 OPEN that unlock over 1460 days, for good." in words
    assert "Begins 1 Jan 2028, 00:00 UTC First unlock after 365 days" in words
    approval = approve_call(addresses.token, addresses.vesting, 12 * OPEN)
    assert "take 12 OPEN from the treasury" in decoded(approval, addresses)
    for start in (0, 2**64 - 1):  # whatever a proposal says, its page is shown
        odd = grant_call(addresses.vesting, b"\1" * 32, A, OPEN, Schedule(start, 0, 1))
        assert "Begins" in decoded(odd, addresses)


def test_a_chain_without_the_contract_of_grants_offers_none(
    client: Client, contracts: Addresses, settings: Settings, stranger: User
) -> None:
    replace(contracts, vesting="").save(settings.CHAIN_ADDRESSES_FILE)
    client.force_login(stranger)
    assert "unlocks over time" not in client.get(f"{LIST}new/").content.decode()
    assert client.post(f"{LIST}new/grant/", GRANT).status_code == 404
