"""An agent without an account pays for an answer: real chain, real engine, real books."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test import Client
from django.test.client import AsyncClient
from eth_account.signers.local import LocalAccount
from pytest_django.fixtures import Settings

from marketplace.models import Agent, Inference
from marketplace.services import retire_agent
from marketplace.services.reserve_answer import highest_fee_wei
from marketplace.tests.conftest import OPEN, ROWS, TOKEN, run_attempt
from modelfactory.models import Model
from openledger_site.accounts.models import Wallet
from rewards.chain.calls import authorized_transfer_call
from rewards.models import Account, ChainTransaction, Hold, SignedPayment
from rewards.selectors import spendable_wei
from rewards.services import PaymentTerms, reconcile, send_transactions, watch_chain
from rewards.services.ledger import system_account
from rewards.tests.conftest import Wallets, local_chain, wallets
from rewards.tests.paying import authorize, new_payer, sign

__all__ = ["local_chain", "wallets"]  # fixtures

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]
ASK = "/v1/chat/completions"
BODY: dict[str, Any] = {
    "model": "birds",
    "messages": [{"role": "user", "content": ROWS[0][0]}],
    "max_tokens": 8,
    "temperature": 0,
}
Send = Callable[..., Any]


@pytest.fixture
def site(wallets: Wallets, model: Model, engine_url: str, settings: Settings) -> Wallets:
    settings.ENGINE_URL, settings.ENGINE_TOKEN = engine_url, TOKEN
    return wallets


@pytest.fixture
def payer(site: Wallets) -> LocalAccount:
    return new_payer(10 * OPEN)


@pytest.fixture
def worker(payer: LocalAccount, site: Wallets) -> Iterator[None]:
    """What the chain's queue does in a worker: send, mine, watch, once and again."""
    stop = threading.Event()

    def work() -> None:
        try:
            while not stop.wait(0.1):
                send_transactions()
                site.chain.seal()
                watch_chain()
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stop.set()
    thread.join(20)


def send(headers: dict[str, str] | None = None, **changed: Any) -> Any:
    content = json.dumps(BODY | changed)
    return Client().post(ASK, content, "application/json", headers=headers or {})


def decoded(answer: Any, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(base64.b64decode(answer[name]))
    return document


def terms_of(answer: Any) -> PaymentTerms:
    offer = decoded(answer, "PAYMENT-REQUIRED")["accepts"][0]
    return PaymentTerms(
        chain_id=int(offer["network"].partition(":")[2]),
        asset=offer["asset"],
        pay_to=offer["payTo"],
        amount_wei=int(offer["amount"]),
        domain=offer["extra"],
        timeout_seconds=offer["maxTimeoutSeconds"],
    )


def payload(payer: LocalAccount, terms: PaymentTerms, **changed: Any) -> dict[str, Any]:
    authorization = authorize(payer, terms, **changed)
    return {
        "x402Version": 2,
        "accepted": {
            "scheme": "exact",
            "network": terms.network,
            "amount": str(authorization.amount_wei),
            "asset": terms.asset,
            "payTo": terms.pay_to,
            "maxTimeoutSeconds": terms.timeout_seconds,
            "extra": terms.domain,
        },
        "payload": {
            "signature": sign(payer, authorization, terms).hex,
            "authorization": {
                "from": authorization.payer,
                "to": authorization.to,
                "value": str(authorization.amount_wei),
                "validAfter": str(authorization.valid_after),
                "validBefore": str(authorization.valid_before),
                "nonce": authorization.nonce,
            },
        },
    }


def header(document: Any) -> dict[str, str]:
    return {"PAYMENT-SIGNATURE": base64.b64encode(json.dumps(document).encode()).decode()}


def paying(payer: LocalAccount, **changed: Any) -> dict[str, str]:
    return header(payload(payer, terms_of(send()), **changed))


def in_wallet(site: Wallets, payer: LocalAccount) -> int:
    return site.client.balance_of(site.addresses.token, payer.address)


def test_without_a_key_the_price_is_told_in_header_and_body(site: Wallets, model: Model) -> None:
    answer = send()
    assert answer.status_code == 402
    document = decoded(answer, "PAYMENT-REQUIRED")
    (offer,) = document["accepts"]
    assert document["x402Version"] == 2
    assert document["resource"]["url"].endswith(ASK)
    assert offer == {
        "scheme": "exact",
        "network": "eip155:31337",
        "amount": str(highest_fee_wei(model, BODY["messages"], 8)),
        "asset": site.addresses.token,
        "payTo": site.addresses.escrow,
        "maxTimeoutSeconds": 300,
        "extra": {"name": "OPEN", "version": "1"},
    }
    body = answer.json()
    assert body["accepts"] == document["accepts"]
    assert body["error"]["code"] == "payment_required"


def test_an_agent_pays_and_is_answered_to_the_wei(
    site: Wallets, payer: LocalAccount, worker: None
) -> None:
    price = terms_of(send()).amount_wei
    answer = send(paying(payer))
    assert answer.status_code == 200, answer.content
    inference = Inference.objects.select_related("payment", "consumer").get()
    settled = decoded(answer, "PAYMENT-RESPONSE")
    body = answer.json()
    assert body["choices"][0]["message"]["content"] == inference.answer != ""
    assert settled["success"]
    assert settled["payer"] == payer.address
    assert settled["transaction"] == inference.payment.transaction_hash
    assert settled["amount"] == str(price)
    assert answer["OpenLedger-Receipt"].endswith(body["openledger"]["receipt_url"])
    run_attempt(inference)
    assert inference.settled
    assert in_wallet(site, payer) == 10 * OPEN - price
    assert spendable_wei(inference.consumer) == price - inference.fee_wei
    assert -system_account(Account.Kind.CUSTODY).balance_wei == price
    report = reconcile()
    assert report.ok, report.as_dict()


def test_what_an_answer_did_not_cost_pays_for_the_next(
    site: Wallets, payer: LocalAccount, worker: None
) -> None:
    """The wallet is left alone while its balance here covers the question."""
    assert send(paying(payer, amount_wei=5 * OPEN)).status_code == 200
    second = send(paying(payer))
    assert second.status_code == 200
    assert decoded(second, "PAYMENT-RESPONSE") | {"payer": ""} == {
        "success": True, "transaction": "", "network": "eip155:31337", "payer": "", "amount": "0",
    }  # fmt: skip
    assert in_wallet(site, payer) == 5 * OPEN
    assert ChainTransaction.objects.filter(purpose="x402").count() == 1
    assert Wallet.objects.get(address=payer.address).user.inferences.count() == 2


def test_a_replay_is_refused_before_anything_is_sent(
    site: Wallets, payer: LocalAccount, worker: None
) -> None:
    signed = paying(payer)
    assert send(signed).status_code == 200
    paid = in_wallet(site, payer)
    for again in (send(signed), send(signed, max_tokens=9)):
        assert again.status_code == 402
        assert again.json()["error"]["code"] == "payment_used"
        assert decoded(again, "PAYMENT-RESPONSE")["success"] is False
        assert "PAYMENT-REQUIRED" in again
    assert ChainTransaction.objects.filter(purpose="x402").count() == 1
    assert (Inference.objects.count(), in_wallet(site, payer)) == (1, paid)


def test_with_a_key_of_its_own_a_client_gets_its_answer_again(
    site: Wallets, payer: LocalAccount, worker: None
) -> None:
    signed = paying(payer) | {"Idempotency-Key": "mine-1"}
    first, again = send(signed), send(signed)
    assert first.json()["id"] == again.json()["id"]
    assert send(signed | {"Idempotency-Key": "guessed"}).status_code == 402
    assert Inference.objects.count() == SignedPayment.objects.count() == 1


def test_one_signature_sent_twice_at_once_is_charged_once(
    site: Wallets, payer: LocalAccount, worker: None
) -> None:
    signed = paying(payer)
    price = terms_of(send()).amount_wei

    def sent(_: int) -> int:
        try:
            return int(send(signed).status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        statuses = sorted(pool.map(sent, range(2)))
    assert statuses[0] == 200
    assert statuses[1] in (402, 409)
    assert in_wallet(site, payer) == 10 * OPEN - price
    assert (Inference.objects.count(), Hold.objects.count()) == (1, 1)


def other(**changed: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["accepted"].update(changed)


WRONG: list[tuple[str, Callable[[dict[str, Any]], None], int, str]] = [
    ("other chain", other(network="eip155:1"), 402, "invalid_network"),
    ("other token", other(asset="0x" + "1" * 40), 402, "invalid_payment_requirements"),
    ("other scheme", other(scheme="upto"), 402, "unsupported_scheme"),
    ("other amount", other(amount="1"), 402, "invalid_payment_requirements"),
    ("version 1", lambda d: d.update(x402Version=1), 400, "invalid_x402_version"),
    ("no payload", lambda d: d.pop("payload"), 400, "invalid_payload"),
    ("more fields", lambda d: d["payload"].update(more=1), 400, "invalid_payload"),
    ("a number", lambda d: d["payload"]["authorization"].update(value=5), 400, "invalid_payload"),
    ("signature cut", lambda d: d["payload"].update(signature="0x12"), 402,
     "invalid_exact_evm_payload_signature"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "status", "code"), WRONG, ids=[w[0] for w in WRONG])
def test_what_is_not_the_offer_is_refused_by_name(
    site: Wallets,
    payer: LocalAccount,
    name: str,
    change: Callable[[dict[str, Any]], None],
    status: int,
    code: str,
) -> None:
    document = payload(payer, terms_of(send()))
    change(document)
    answer = send(header(document))
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert not ChainTransaction.objects.filter(purpose="x402").exists()
    assert not SignedPayment.objects.exists()


def test_less_money_another_payee_and_a_late_signature_are_refused(
    site: Wallets, payer: LocalAccount
) -> None:
    price = terms_of(send()).amount_wei
    for changed, reason in (
        ({"amount_wei": price - 1}, "authorization_value"),
        ({"to": payer.address}, "recipient_mismatch"),
        ({"valid_before": 1}, "authorization_valid_before"),
    ):
        answer = send(paying(payer, **changed))
        code = f"invalid_exact_evm_payload_{reason}"
        assert (answer.status_code, answer.json()["error"]["code"]) == (402, code)
    assert in_wallet(site, payer) == 10 * OPEN


@pytest.mark.parametrize("junk", [b"", b"%%%", b"bm8=", b"W10=", b"eyJhIjoxLCJhIjoyfQ=="])
def test_a_header_that_is_no_payment_is_refused(site: Wallets, junk: bytes) -> None:
    answer = send({"PAYMENT-SIGNATURE": junk.decode()})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_payload")


def test_a_payment_that_is_not_final_yet_is_asked_for_again_and_charged_once(
    site: Wallets, payer: LocalAccount, settings: Settings
) -> None:
    """The web process dies, or gives up waiting, between verify and settle: nothing is lost."""
    settings.X402_WAIT_SECONDS = 0.2
    signed = paying(payer)
    waiting = send(signed)
    assert (waiting.status_code, waiting.json()["error"]["code"]) == (503, "payment_pending")
    assert send(signed).status_code == 503  # nothing is queued twice
    for _ in range(2):
        send_transactions()
        site.finalize()
    watch_chain()
    settings.X402_MINIMUM_WEI = 3 * OPEN  # the price has risen meanwhile
    assert send(signed).status_code == 200
    settings.X402_MINIMUM_WEI = 0
    assert (Inference.objects.count(), SignedPayment.objects.count()) == (1, 1)
    assert in_wallet(site, payer) == 10 * OPEN - terms_of(send()).amount_wei


def test_a_payment_whose_answer_was_cut_off_still_buys_one(
    site: Wallets, payer: LocalAccount, worker: None, settings: Settings
) -> None:
    engine, settings.ENGINE_URL = settings.ENGINE_URL, "http://127.0.0.1:9"
    signed = paying(payer)
    cut_off = send(signed)
    assert cut_off.status_code == 503
    assert decoded(cut_off, "PAYMENT-RESPONSE")["success"] is True
    assert "balance" in cut_off.json()["error"]["message"]
    paid = in_wallet(site, payer)
    settings.ENGINE_URL = engine
    assert send(signed).status_code == 200
    assert in_wallet(site, payer) == paid


async def read_stream(headers: dict[str, str]) -> tuple[Any, str]:
    content = json.dumps(BODY | {"stream": True, "stream_options": {"include_usage": True}})
    answer = await AsyncClient().post(ASK, content, "application/json", headers=headers)
    parts = [part async for part in answer.streaming_content]  # type: ignore[attr-defined] # it streams
    return answer, b"".join(parts).decode()


def test_a_stream_is_paid_before_its_first_word(
    site: Wallets, payer: LocalAccount, worker: None
) -> None:
    answer, text = async_to_sync(read_stream)(paying(payer))
    assert decoded(answer, "PAYMENT-RESPONSE")["success"] is True
    assert text.endswith("data: [DONE]\n\n")
    inference = Inference.objects.get()
    assert f'"fee_wei": "{inference.fee_wei}"' in text
    assert inference.completion_tokens > 0


def test_the_x402_client_pays_by_itself(site: Wallets, payer: LocalAccount, worker: None) -> None:
    """The public client of the protocol, with the spend controls that our API page shows."""
    x402 = pytest.importorskip("x402")
    from x402.http import x402HTTPClientSync
    from x402.mechanisms.evm.exact import ExactEvmScheme

    client = x402.x402ClientSync()
    client.register("eip155:31337", ExactEvmScheme(payer))
    client.set_spend_controls(
        {
            "allowed_assets": [
                {
                    "network": "eip155:31337",
                    "asset": site.addresses.token,
                    "max_amount_per_payment": str(OPEN),
                }
            ]
        }
    )
    http = x402HTTPClientSync(client)
    refused = send()
    headers, _ = http.handle_402_response(dict(refused.items()), refused.content, ASK)
    answer = send(headers)
    assert answer.status_code == 200, answer.content
    settled = http.get_payment_settle_response(lambda name: answer.headers.get(name))
    assert settled.success
    assert settled.transaction == SignedPayment.objects.get().transaction_hash


def test_private_and_unknown_models_are_not_for_sale(
    site: Wallets, model: Model, payer: LocalAccount
) -> None:
    Model.objects.update(visibility="private")
    for name in ("birds", "fish"):
        answer = send(model=name)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


def test_a_wrong_key_is_not_asked_for_money(site: Wallets) -> None:
    assert send({"authorization": "Bearer ol_live_no"}).status_code == 401


def test_switched_off_a_key_is_asked_for_as_before(site: Wallets, settings: Settings) -> None:
    settings.X402_ENABLED = False
    assert send().status_code == 401


def test_many_questions_without_a_key_are_slowed_down(site: Wallets, settings: Settings) -> None:
    settings.X402_REQUESTS_PER_MINUTE = 0
    answer = send()
    assert (answer.status_code, answer["Retry-After"]) == (429, "60")


def test_a_signature_seen_on_chain_spends_nobodys_balance(
    site: Wallets, payer: LocalAccount, worker: None
) -> None:
    """A transfer that somebody sent by themselves shows its signature to all: it buys nothing."""
    assert send(paying(payer, amount_wei=5 * OPEN)).status_code == 200
    owner = Wallet.objects.get(address=payer.address).user
    terms = terms_of(send())
    authorization = authorize(payer, terms)
    signature = sign(payer, authorization, terms)
    site.send(site.new(), authorized_transfer_call(terms.asset, authorization, signature))
    document = payload(payer, terms)
    document["payload"] = {
        "signature": signature.hex,
        "authorization": {
            "from": payer.address,
            "to": authorization.to,
            "value": str(authorization.amount_wei),
            "validAfter": "0",
            "validBefore": str(authorization.valid_before),
            "nonce": authorization.nonce,
        },
    }
    answer = send(header(document))
    assert answer.json()["error"]["code"] == "invalid_transaction_state"
    assert owner.inferences.count() == 1


def test_the_openapi_document_tells_how_to_pay(client: Client) -> None:
    answer = client.get("/api/schema/?format=json")
    operation = answer.json()["paths"]["/v1/chat/completions"]["post"]
    assert "PAYMENT-REQUIRED" in operation["responses"]["402"]["headers"]
    assert {p["name"] for p in operation["parameters"]} == {"Idempotency-Key", "PAYMENT-SIGNATURE"}


def test_an_agent_of_the_site_is_paid_for_by_signature_as_its_model_is(
    bot: Agent, site: Wallets, payer: LocalAccount, worker: None
) -> None:
    terms = terms_of(send(model="agent/guide"))
    assert terms.amount_wei == terms_of(send()).amount_wei  # the same base reads as much
    answer = send(header(payload(payer, terms)), model="agent/guide")
    assert (answer.status_code, Inference.objects.get().agent_version) == (200, bot.newest)


def test_a_retired_agent_takes_no_payment(bot: Agent, site: Wallets, payer: LocalAccount) -> None:
    signed = header(payload(payer, terms_of(send(model="agent/guide"))))
    retire_agent(agent=bot)
    assert send(signed, model="agent/guide").status_code == 404
    assert not SignedPayment.objects.exists()
