"""The thread from sign-up to the claim, as five people saw it in their browsers."""

from __future__ import annotations

import json

import pytest

from e2e.walk import DEPOSIT_OPEN

# The first of these waits for the site to start and for the whole walk, training included.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


def test_every_page_on_the_way_is_accessible(walk):
    assert {label: found for label, found in walk.findings.items() if found} == {}


def test_no_page_on_the_way_reports_an_error(walk):
    assert walk.problems() == []


@pytest.mark.parametrize("name", ["Ada", "Ben", "Dora", "Emil"])
def test_a_wallet_is_linked_by_one_signature_and_no_transaction(walk, name):
    assert walk.seen[f"{name} signed"].count("personal_sign") == 1
    assert "eth_sendTransaction" not in walk.seen[f"{name} signed"]


@pytest.mark.parametrize("name", ["Ada", "Ben"])
def test_every_row_of_a_dropped_file_is_read(walk, name):
    figures = walk.seen[f"{name} uploaded"]
    assert figures == {"Rows read": "24", "Usable": "24", "Left out": "0"}


def test_reviewing_by_hotkey_never_leaves_the_page(walk):
    assert walk.seen["one page while reviewing"]


def test_the_version_freezes_every_approved_row(walk):
    assert walk.seen["version"]["Rows"] == "48"


def test_the_verdict_sets_the_tuned_model_against_its_base(walk):
    tuned, base = (walk.seen["verdict"][f"{who}, from memory"] for who in ("Tuned", "Base"))
    assert int(tuned.split()[0]) > int(base.split()[0])


def test_a_deposit_takes_one_permit_and_one_transaction(walk):
    asked = walk.seen["deposit asked"]
    assert asked.count("eth_signTypedData_v4") == asked.count("eth_sendTransaction") == 1


def test_the_deposit_can_be_spent(walk):
    assert walk.seen["balance"]["To spend"].split()[0] == DEPOSIT_OPEN


def test_the_answer_grows_in_the_page(walk):
    assert walk.seen["partial answer"]
    assert walk.seen["answer"].startswith(walk.seen["partial answer"].rstrip())


def test_the_receipt_names_whose_row_answered(walk):
    assert "ZeroDivisionError" in walk.seen["receipt"]
    assert "Ada" in walk.seen["receipt"]


def test_the_downloaded_receipt_replays_without_the_site(walk):
    replayed = json.loads(walk.seen["replay"])
    assert replayed["problems"] == []
    assert walk.seen["receipt file"]["body"]["contributors"]


def test_a_claim_moves_exactly_what_was_claimable(walk):
    assert walk.seen["arrived on chain"] == walk.seen["to claim"] > 0


def test_nothing_is_left_to_claim_after_the_claim(walk):
    assert walk.seen["to claim afterwards"] == 0
    assert walk.seen["claimed"] == walk.seen["to claim"]


def test_the_books_close_after_the_walk(walk):
    report = json.loads(walk.site.manage("reconcile", "--json").stdout)
    assert report["ok"]
    assert report["unexplained_wei"] == 0
