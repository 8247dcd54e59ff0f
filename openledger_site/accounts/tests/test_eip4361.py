"""The EIP-4361 grammar: what we write we read back; nothing near it is accepted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from hypothesis import given
from hypothesis import strategies as st

from openledger_site.accounts.eip4361 import (
    MalformedMessage,
    SignInMessage,
    parse_message,
    recover_signer,
)

WALLET = Account.from_key("0x" + "11" * 32)
MESSAGE = SignInMessage(
    domain="ledger.example",
    address=WALLET.address,
    uri="https://ledger.example",
    chain_id=1,
    nonce="a1b2c3d4e5f6",
    issued_at=datetime(2026, 11, 23, 9, 0, tzinfo=UTC),
    expiration_time=datetime(2026, 11, 23, 9, 5, tzinfo=UTC),
    statement="Sign in.",
)


def test_a_written_message_reads_back_the_same():
    assert parse_message(MESSAGE.text()) == MESSAGE


def test_a_message_without_a_statement_reads_back_the_same():
    bare = SignInMessage(**(MESSAGE.__dict__ | {"statement": ""}))
    assert parse_message(bare.text()) == bare


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Version: 1", "Version: 2"),
        ("Chain ID: 1", "Chain ID: 01"),
        ("Chain ID: 1", "Chain ID: -1"),
        ("Chain ID: 1", "Chain ID:  1"),
        ("Nonce: a1b2c3d4e5f6", "Nonce: short"),
        ("Nonce: a1b2c3d4e5f6", "Nonce: a1b2-c3d4-e5f6"),
        ("Nonce: a1b2c3d4e5f6\n", ""),
        ("Issued At: 2026", "Issued At: 20x6"),
        ("Issued At: 2026-11-23", "Issued At: 2026-13-41"),
        ("09:00:00Z", "09:00:00"),
        ("URI: https://ledger.example", "URI: https://ledger.example more"),
        ("\nURI", "\r\nURI"),
        ("Sign in.", "Sign in.\nURI: https://evil.example"),
        ("Sign in.", "Sign in \u202e"),
        (" wants you to sign in", " wants you to sign  in"),
        (WALLET.address, WALLET.address.lower()),
        (WALLET.address, WALLET.address[:-1]),
        ("ledger.example wants", "wants"),
        ("Expiration Time", "Expiration time"),
    ],
)
def test_anything_outside_the_grammar_is_refused(old, new):
    text = MESSAGE.text()
    assert old in text
    with pytest.raises(MalformedMessage):
        parse_message(text.replace(old, new, 1))


def test_trailing_text_is_refused():
    with pytest.raises(MalformedMessage):
        parse_message(MESSAGE.text() + "\n")


@given(st.text(max_size=300))
def test_no_text_crashes_the_parser(text):
    with pytest.raises(MalformedMessage):
        parse_message(text)


def test_the_signer_is_recovered():
    signature = WALLET.sign_message(encode_defunct(text=MESSAGE.text())).signature.to_0x_hex()
    assert recover_signer(MESSAGE.text(), signature) == WALLET.address


def test_the_malleable_twin_of_a_signature_is_refused():
    signed = WALLET.sign_message(encode_defunct(text=MESSAGE.text()))
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    twin = f"0x{signed.r:064x}{order - signed.s:064x}{55 - signed.v:02x}"
    with pytest.raises(MalformedMessage):
        recover_signer(MESSAGE.text(), twin)


@pytest.mark.parametrize(
    "signature", ["", "0x", "0x" + "zz" * 65, "0x" + "00" * 65, "0x" + "11" * 64]
)
def test_a_broken_signature_is_refused(signature):
    with pytest.raises(MalformedMessage):
        recover_signer(MESSAGE.text(), signature)
