"""Every door of the site, tried by everybody. A door that is not in the table fails the tests.

The table is read from the top: what anonymous visitors, strangers and the person a thing belongs to
get. A stranger's 404 counts only because somebody else gets in by the same address.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import URLResolver, get_resolver, reverse

from openledger_site.accounts.services import create_api_key
from openledger_site.core.models import Job
from openledger_site.tests.conftest import Thread

pytestmark = pytest.mark.django_db
NOTHING = "00000000-0000-4000-8000-000000000000"
OK, FOUND = 200, 302


@dataclass(frozen=True)
class Door:
    """Statuses by principal; `insider` is somebody whom the thing belongs to or who may see it."""

    method: str
    arguments: Callable[[Any], list[Any]]
    anonymous: int
    stranger: int
    insider: str = "Bo"
    inside: int = OK


def door(
    method: str, anonymous: int, stranger: int, inside: int = OK, insider: str = "Bo", *things: str
) -> Door:
    """`things` are attributes of the thread, as "version.public_id"."""

    def arguments(made: Any) -> list[Any]:
        found = []
        for thing in things:
            value = made
            for name in thing.split("."):
                value = getattr(value, name)
            found.append(value)
        return found

    return Door(method, arguments, anonymous, stranger, insider, inside)


def public(*things: str) -> Door:
    return door("GET", OK, OK, OK, "Bo", *things)


def own(inside: int = OK) -> Door:
    """A page about oneself: everybody has one, with nothing of others on it."""
    return door("GET", FOUND, OK, inside)


def mine(thing: str, *, by: str = "Bo", method: str = "GET", inside: int = OK) -> Door:
    """A thing that strangers cannot tell from one that does not exist."""
    return door(method, FOUND, 404, inside, by, *thing.split())


def hidden(thing: str, *, by: str = "Olive", inside: int = OK) -> Door:
    """As `mine`, by an address that public things share, so that nobody is sent to sign in."""
    return door("GET", 404, 404, inside, by, *thing.split())


def api(thing: str = "", *, by: str = "Olive", stranger: int = 404) -> Door:
    return door("GET", 401, stranger, OK, by, *thing.split())


DOORS: dict[str, Door | list[Door]] = {
    "home": public(),
    "healthz": public(),
    "readyz": public(),
    "api-schema": public(),
    # People
    "accounts:profile": own(),
    "accounts:close": own(),
    "accounts:known": own(),
    "accounts:wallet-nonce": door("POST", 403, 403, 403),
    "accounts:wallet-verify": door("POST", 403, 403, 403),
    "accounts:wallet-unlink": mine("wallet.pk", method="POST", inside=409),
    "accounts:api-keys": own(),
    "accounts:api-key-revoke": mine("api_key.public_id", method="POST", inside=FOUND),
    # Money
    "rewards:overview": own(),
    "rewards:statement-export": own(),
    "rewards:statement-json": own(),
    "rewards:deposit-state": own(),
    "rewards:summary": own(),
    "rewards:claim-state": own(),
    "rewards:withdrawal-state": own(),
    "rewards:withdrawal-new": door("POST", FOUND, 422, 422),
    "rewards:withdrawal-detail": mine("withdrawal.public_id"),
    "rewards:withdrawal-cancel": mine("withdrawal.public_id", method="POST", inside=FOUND),
    "rewards:earnings": own(),
    "rewards:epoch-list": public(),
    "rewards:epoch-close": door("POST", FOUND, 404, 404),
    "rewards:epoch-detail": public("epoch.number"),
    "rewards:epoch-leaves": public("epoch.number"),
    "rewards:explorer": public(),
    "rewards:anchor-list": public(),
    "rewards:contract-list": public(),
    "rewards:closing-list": public(),
    "rewards:address-detail": public("payout.address"),
    "rewards:unlock-list": public(),
    "rewards:release-state": own(),
    "rewards:grant-release": mine("vesting.wallet", by="Olive", method="POST", inside=FOUND),
    "rewards:relay-quote": door("POST", FOUND, 422, 422),
    "rewards:relay-order": door("POST", FOUND, 422, 422),
    "rewards:relay-state": mine("relay.public_id", by="Olive"),
    "rewards:reputation": own(),
    "rewards:reputation-token": own(),
    "rewards:reputation-json": own(),
    "rewards:reputation-write": door("POST", FOUND, 409, 409),
    "rewards:person": public("reputation.user.public_id"),
    "rewards:governance": public(),
    "rewards:voting-power": own(),
    "rewards:proposal-found": own(),
    "rewards:proposal-choose": own(),
    "rewards:proposal-new": door("GET", FOUND, OK, OK, "Bo", "action"),
    "rewards:proposal-detail": public("proposal.public_id"),
    "rewards:proposal-state": public("proposal.public_id"),
    "rewards:stakes": own(),
    "rewards:stake-state": own(),
    "rewards:stake-target": hidden("stake_kind datanet.public_id"),
    "rewards:stake-panel": hidden("stake_kind datanet.public_id"),
    "rewards:stake-preview": mine(
        "stake_kind datanet.public_id", by="Olive", method="POST", inside=422
    ),
    "rewards:slash-new": door("GET", FOUND, 404, 404, "Olive", "stake_kind", "datanet.public_id"),
    "rewards:asset": hidden("stake_kind datanet.public_id"),
    "rewards:asset-panel": hidden("stake_kind datanet.public_id"),
    "rewards:asset-register": mine(
        "stake_kind datanet.public_id", by="Olive", method="POST", inside=422
    ),
    "rewards:asset-metadata": hidden("asset.number"),
    "rewards:slash-appeal": mine("slash.public_id", by="Olive", method="POST", inside=422),
    "rewards:slash-overturn": door("POST", FOUND, 404, 404, "Olive", "slash.public_id"),
    "rewards:slash-carry-out": door("POST", FOUND, 404, 404, "Olive", "slash.public_id"),
    "rewards:status": public(),
    "rewards:api-balance": api(stranger=OK),
    "rewards:api-claim": api(stranger=OK),
    "rewards:api-withdrawal-list": api(stranger=OK),
    "rewards:api-withdrawal": api("withdrawal.public_id", by="Bo"),
    "rewards:api-contracts": door("GET", 503, 503, 503),  # public; not deployed in this thread
    # Data
    "datanets:datanet-list": public(),
    "datanets:datanet-create": own(),
    "datanets:contribution-list": own(),
    "datanets:waiting": own(),
    "datanets:contribution-detail": mine("contribution.public_id", by="Carla"),
    "datanets:contribution-progress": mine("contribution.public_id", by="Carla"),
    "datanets:contribution-map": mine(
        "contribution.public_id", by="Carla", method="POST", inside=FOUND
    ),
    # Decided long ago, so even its contributor is told that nothing waits.
    "datanets:contribution-decide": mine(
        "contribution.public_id", by="Carla", method="POST", inside=409
    ),
    "datanets:contribution-withdraw": mine(
        "pending.public_id", by="Carla", method="POST", inside=FOUND
    ),
    "datanets:contribution-bad-rows": mine("contribution.public_id", by="Carla"),
    "datanets:record-detail": [hidden("record.public_id"), hidden("record.public_id", by="Rita")],
    "datanets:record-review": mine(
        "pending_record.public_id", by="Rene", method="POST", inside=FOUND
    ),
    "datanets:record-appeal": mine("record.public_id", by="Carla", method="POST", inside=422),
    "datanets:record-doubt": mine("record.public_id", by="Carla", method="POST", inside=422),
    "datanets:second-look-list": mine("datanet.slug", by="Rene"),
    "datanets:second-look-decide": mine("look.public_id", by="Rene", method="POST", inside=422),
    "datanets:gold-make": mine("record.public_id", by="Rene", method="POST", inside=422),
    "datanets:gold-retire": mine("record.public_id", by="Rene", method="POST", inside=FOUND),
    "datanets:review-quality": mine("datanet.slug", by="Rene"),
    "datanets:review-rules": mine("datanet.slug", by="Olive", method="POST", inside=422),
    "datanets:version-detail": [hidden("version.public_id"), hidden("version.public_id", by="Bo")],
    "datanets:version-manifest": hidden("version.public_id"),
    "datanets:version-proof": hidden("version.public_id record.public_id"),
    "datanets:version-rows": hidden("version.public_id", by="Rita"),
    "datanets:version-croissant": [
        hidden("version.public_id"),
        hidden("version.public_id", by="Bo"),
    ],
    "datanets:row-list": [hidden("datanet.slug"), hidden("datanet.slug", by="Rita")],
    "datanets:card-edit": mine("datanet.slug", by="Rene"),
    "datanets:record-sample": mine("record.public_id", by="Rene", method="POST", inside=FOUND),
    "datanets:grant-decide": mine("grant.public_id", by="Olive", method="POST", inside=422),
    "datanets:grant-withdraw": mine("grant.public_id", method="POST", inside=409),  # answered
    "datanets:api-datanet-list": api(stranger=OK),
    "datanets:api-datanet-detail": api("datanet.slug"),
    "datanets:api-contribution-list": api("datanet.slug"),
    "datanets:api-version-list": api("datanet.slug"),
    "datanets:api-upload-list": api("datanet.slug"),
    "datanets:api-upload-item": door("PATCH", 401, 404, 412, "Carla", "upload.public_id"),
    "datanets:upload-discard": mine("upload.public_id", by="Carla", method="POST", inside=FOUND),
    "v1:file-list": api(stranger=OK),
    "v1:file-detail": api("contribution.public_id", by="Carla"),
    "datanets:api-contribution-detail": api("contribution.public_id", by="Carla"),
    "datanets:api-contribution-decision": door(
        "POST", 401, 404, 409, "Carla", "contribution.public_id"
    ),
    "datanets:datanet-detail": [hidden("datanet.slug"), hidden("datanet.slug", by="Bo")],
    "datanets:contribution-create": mine("datanet.slug", by="Carla"),
    "datanets:review-queue": mine("datanet.slug", by="Rene"),
    "datanets:review-all": mine("datanet.slug", by="Rene", method="POST", inside=FOUND),
    "datanets:review-undo": mine("datanet.slug review.batch", by="Rene", method="POST", inside=409),
    "datanets:version-create": mine("datanet.slug", by="Rene", method="POST", inside=FOUND),
    "datanets:member-list": mine("datanet.slug", by="Olive"),
    "datanets:member-remove": mine(
        "datanet.slug membership.pk", by="Olive", method="POST", inside=FOUND
    ),
    "datanets:member-role": mine(
        "datanet.slug membership.pk", by="Olive", method="POST", inside=FOUND
    ),
    "datanets:owner-transfer": mine("datanet.slug", by="Olive", method="POST", inside=422),
    "datanets:access-request": mine("datanet.slug", by="Rita"),
    "datanets:request-list": mine("datanet.slug", by="Rene"),
    "datanets:access-log": [mine("datanet.slug", by="Olive"), mine("datanet.slug", by="Carla")],
    "datanets:access-questions": mine("datanet.slug", by="Olive", method="POST", inside=FOUND),
    # Learning
    "modelfactory:list": own(),
    "modelfactory:run-new": own(),
    "modelfactory:run-start": door("POST", FOUND, 422, 422),
    "modelfactory:run-detail": mine("run.public_id"),
    "modelfactory:run-progress": mine("run.public_id"),
    "modelfactory:run-stop": mine("run.public_id", method="POST", inside=FOUND),
    "modelfactory:run-doubt": mine("settled_run.public_id", method="POST", inside=FOUND),
    "modelfactory:run-resume": mine("run.public_id", method="POST", inside=409),
    "modelfactory:run-retry": mine("settled_run.public_id", method="POST", inside=FOUND),
    "modelfactory:model-publish": mine("unpublished_run.public_id"),
    "modelfactory:model-detail": hidden("model.slug", by="Bo"),
    "modelfactory:model-fidelity": hidden("model.slug", by="Bo"),
    "modelfactory:model-calibrate": mine("model.slug", method="POST", inside=409),  # too few rows
    "modelfactory:model-calibrate-stop": mine("model.slug", method="POST", inside=FOUND),
    "modelfactory:model-value": hidden("model.slug", by="Bo"),
    "modelfactory:model-value-measure": mine("model.slug", method="POST", inside=409),  # no index
    "modelfactory:model-value-stop": mine("model.slug", method="POST", inside=FOUND),
    # Use
    "marketplace:browse": public(),
    "marketplace:answers": own(),
    "marketplace:answer": mine("inference.public_id", inside=FOUND),
    "marketplace:receipt": mine("inference.public_id"),
    "marketplace:receipt-download": mine("inference.public_id"),
    "marketplace:answer-erase": mine(
        "inference.public_id", method="POST", inside=409
    ),  # in dispute
    "marketplace:answers-erase": door("POST", FOUND, FOUND, FOUND),
    "marketplace:refund-new": mine("inference.public_id"),
    "marketplace:refund": [mine("refund.public_id"), mine("refund.public_id", by="Stella")],
    "marketplace:spending": own(),
    "marketplace:spending-invoice": own(),
    "marketplace:spending-cap": door("POST", FOUND, 422, 422),
    "marketplace:spending-key-cap": mine("api_key.public_id", method="POST", inside=422),
    "marketplace:earned": own(),
    "marketplace:earned-detail": [
        mine("inference.public_id", by="Carla"),
        mine("inference.public_id", by="Bo"),
    ],
    "marketplace:dispute-new": mine("inference.public_id", by="Carla"),
    "marketplace:dispute": [
        mine("dispute.public_id", by="Carla"),
        mine("dispute.public_id", by="Bo"),
    ],
    "marketplace:dispute-again": mine("dispute.public_id", by="Carla", method="POST", inside=409),
    "marketplace:chat": mine("model.slug"),
    "marketplace:agents": public(),
    "marketplace:agent-new": own(),
    "marketplace:agent": hidden("agent.slug", by="Bo"),
    "marketplace:agent-edit": mine("agent.slug"),
    "marketplace:agent-chat": mine("agent.slug"),
    "marketplace:agent-retire": mine("agent.slug", method="POST", inside=FOUND),
    "marketplace:agent-take-down": door("POST", FOUND, 404, 404, "Bo", "agent.slug"),
    "marketplace:agent-appeal": mine("agent.slug", method="POST", inside=422),
    "marketplace:agent-answer": door("POST", FOUND, 404, 404, "Bo", "agent.slug"),
    "marketplace:agent-bring-back": mine("agent.slug", method="POST", inside=FOUND),
    "marketplace:datanet-lineage": [hidden("datanet.slug"), hidden("datanet.slug", by="Bo")],
    "marketplace:datanet-earned": hidden("datanet.slug", by="Carla"),
    "marketplace:income": hidden("model.slug", by="Bo"),
    "core:job-progress": mine("run.job_id"),
    "core:job-cancel": mine("run.job_id", method="POST", inside=FOUND),
}
# Doors that ask for a key, not a session; `test_a_key_opens_…` below tries them.
KEY_DOORS = {"v1:model-list", "v1:model-detail", "v1:chat-completions", "v1:chat-completion"}
# allauth's own pages, tested by allauth: here only that a visitor's account is all they can touch.
SIGN_IN = ("account_", "mfa_")
GETS = {
    "datanets:datanet-create", "datanets:contribution-create", "datanets:member-list",
    "datanets:access-request", "datanets:card-edit",
    "modelfactory:model-publish", "marketplace:chat", "marketplace:dispute-new", "accounts:profile",
    "marketplace:refund-new", "marketplace:refund",
    "marketplace:agent-new", "marketplace:agent-edit", "marketplace:agent-chat",
    "accounts:api-keys", "accounts:close", "rewards:proposal-new",
    "rewards:slash-new",
}  # fmt: skip


def routes(resolver: URLResolver, namespaces: tuple[str, ...] = ()) -> Iterator[str]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            inner = (pattern.namespace,) if pattern.namespace else ()
            yield from routes(pattern, (*namespaces, *inner))
        else:
            yield ":".join((*namespaces, str(pattern.name)))


def test_each_route_has_a_declared_expectation() -> None:
    found = {name for name in routes(get_resolver()) if not name.startswith(("admin:", *SIGN_IN))}
    assert found == DOORS.keys() | KEY_DOORS


CASES = [
    (name, case)
    for name, cases in DOORS.items()
    for case in (cases if isinstance(cases, list) else [cases])
]
IDS = [f"{name} {case.insider}" for name, case in CASES]
OBJECTS = [(name, case) for name, case in CASES if case.stranger == 404 and case.inside != 404]


def knock(client: Client, name: str, case: Door, thread: Thread) -> int:
    path = reverse(name, args=case.arguments(thread.things))
    return int(client.generic(case.method, path).status_code)


def as_person(person: Any, **options: Any) -> Client:
    client = Client(**options)
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.mark.parametrize(("name", "case"), CASES, ids=IDS)
def test_a_visitor_without_an_account(thread: Thread, name: str, case: Door) -> None:
    assert knock(Client(), name, case, thread) == case.anonymous


@pytest.mark.parametrize(("name", "case"), CASES, ids=IDS)
def test_a_stranger(thread: Thread, name: str, case: Door) -> None:
    assert knock(as_person(thread.people["Sam"]), name, case, thread) == case.stranger


@pytest.mark.parametrize(("name", "case"), CASES, ids=IDS)
def test_somebody_inside(thread: Thread, name: str, case: Door) -> None:
    assert knock(as_person(thread.people[case.insider]), name, case, thread) == case.inside


@pytest.mark.parametrize(("name", "case"), OBJECTS, ids=[name for name, _ in OBJECTS])
def test_a_hidden_thing_looks_like_one_that_does_not_exist(
    thread: Thread, name: str, case: Door
) -> None:
    client = as_person(thread.people["Sam"])
    arguments = case.arguments(thread.things)
    nothing = [NOTHING if "-" in str(a) and len(str(a)) == 36 else 0 for a in arguments]
    nothing = [
        "no-such" if isinstance(a, str) else b for a, b in zip(arguments, nothing, strict=True)
    ]
    pages = [client.generic(case.method, reverse(name, args=each)) for each in (arguments, nothing)]
    assert [page.status_code for page in pages] == [404, 404]
    assert without_tokens(pages[0].content) == without_tokens(pages[1].content)


def without_tokens(page: bytes) -> bytes:
    """A page without its CSRF tokens, which are masked anew each time."""
    return re.sub(rb"\b[A-Za-z0-9]{64}\b", b"", page)


@pytest.mark.parametrize("name", [n for n, c in CASES if c.method == "POST"])
def test_a_form_that_another_site_made_the_browser_send_is_refused(
    thread: Thread, name: str
) -> None:
    case = next(case for found, case in CASES if found == name)
    client = as_person(thread.people[case.insider], enforce_csrf_checks=True)
    path = reverse(name, args=case.arguments(thread.things))
    assert client.post(path).status_code == 403


def _for_programs(name: str) -> bool:
    return "api" in name or name == "v1:file-list"


@pytest.mark.parametrize(
    "name",
    sorted(GETS | {n for n, _ in CASES if _for_programs(n) and n.startswith(("datanets", "v1"))}),
)
def test_each_page_with_a_form_refuses_a_forged_one(thread: Thread, name: str) -> None:
    case = next(case for found, case in CASES if found == name)
    client = as_person(thread.people[case.insider], enforce_csrf_checks=True)
    answer = client.post(reverse(name, args=case.arguments(thread.things)))
    assert answer.status_code in (403, 405)


# A tus client ends its upload so, OpenAI's deletes a file, and a withdrawal is cancelled.
DELETES = ("datanets:api-upload-item", "v1:file-detail", "rewards:api-withdrawal")


@pytest.mark.parametrize(("name", "case"), CASES, ids=IDS)
def test_each_door_refuses_methods_that_it_does_not_know(
    thread: Thread, name: str, case: Door
) -> None:
    if name == "api-schema":
        pytest.skip("drf-spectacular's own view")
    client = as_person(thread.people[case.insider])
    path = reverse(name, args=case.arguments(thread.things))
    wrong = ["PUT"] + (["DELETE"] if name not in DELETES else [])
    wrong += ["GET"] if case.method == "POST" else []
    wrong += (
        ["POST"] if case.method == "GET" and name not in GETS and not _for_programs(name) else []
    )
    assert {client.generic(method, path).status_code for method in wrong} == {405}


TEXTS = ["\x00", "\ud800".encode("utf-8", "surrogatepass"), "9" * 5000, "-1", "'\"<script>%"]


@pytest.mark.parametrize(("name", "case"), [c for c in CASES if c[1].method == "GET"])
def test_no_query_breaks_a_page(thread: Thread, name: str, case: Door) -> None:
    client = as_person(thread.people[case.insider])
    path = reverse(name, args=case.arguments(thread.things))
    names = (
        "search",
        "q",
        "page",
        "after",
        "before",
        "leaf",
        "length",
        "label",
        "contributor",
        "flag",
        "contribution",
        "step",
        "version",
        "transaction",
        "model",
    )
    for text in TEXTS:
        status = client.get(path, dict.fromkeys(names, text)).status_code
        assert status < 500 or status == case.inside, text


def test_the_back_office_sends_everybody_but_staff_away(thread: Thread) -> None:
    models = [model._meta for model in admin.site._registry]
    lists = [f"admin:{model.app_label}_{model.model_name}_changelist" for model in models]
    pages = [reverse(name) for name in ("admin:index", *lists)]
    for client in (Client(), as_person(thread.people["Olive"])):
        answers = [client.get(page) for page in pages]
        assert {answer.status_code for answer in answers} == {302}
        assert all("login" in answer["Location"] for answer in answers)


@pytest.mark.parametrize(
    "name", sorted(n for n in set(routes(get_resolver())) if n.startswith("mfa_"))
)
def test_sign_in_settings_need_a_signed_in_person(name: str) -> None:
    arguments = [1] if name in ("mfa_remove_webauthn", "mfa_edit_webauthn") else []
    answer = Client().get(reverse(name, args=arguments))
    public_steps = ("mfa_authenticate", "mfa_login_webauthn")
    assert answer.status_code in ((200, 302) if name in public_steps else (302,))


def bearer(secret: str) -> Client:
    return Client(headers={"authorization": f"Bearer {secret}"})


def test_a_key_opens_the_models_of_its_owner_only(thread: Thread) -> None:
    path = reverse("v1:model-detail", args=[thread.things.model.slug])
    _, stranger = create_api_key(thread.people["Sam"], name="s", scopes=["inference"])
    answers = [bearer(secret).get(path).status_code for secret in (thread.things.secret, stranger)]
    assert answers == [200, 404]
    assert bearer(stranger).get(reverse("v1:model-list")).json()["data"] == []


@pytest.mark.parametrize("name", ["v1:model-list", "v1:chat-completions"])
def test_the_api_wants_a_key_and_not_a_session(thread: Thread, name: str) -> None:
    method = "POST" if name == "v1:chat-completions" else "GET"
    for client in (Client(), as_person(thread.people["Bo"]), bearer("ol_live_0_0")):
        assert client.generic(method, reverse(name)).status_code == 401


def test_a_key_without_the_scope_may_not_ask(thread: Thread) -> None:
    _, secret = create_api_key(thread.people["Sam"], name="s", scopes=["rewards"])
    assert bearer(secret).get(reverse("v1:model-list")).status_code == 403


def test_a_stranger_cannot_ask_a_private_model_nor_an_agent_before_it(thread: Thread) -> None:
    _, secret = create_api_key(thread.people["Sam"], name="s", scopes=["inference"])
    for name in (thread.things.model.slug, thread.things.agent.api_name):
        body = {"model": name, "messages": [{"role": "user", "content": "Hi"}]}
        answer = bearer(secret).post(reverse("v1:chat-completions"), body, "application/json")
        assert answer.status_code == 404


def test_a_stranger_cannot_train_on_private_data(thread: Thread) -> None:
    form = {"name": "x", "version": thread.things.version.public_id, "base": "small"}
    answer = as_person(thread.people["Sam"]).post(
        reverse("modelfactory:run-start"), form | {"effort": "quick"}
    )
    assert answer.status_code == 422
    assert not Job.objects.filter(owner=thread.people["Sam"]).exists()


CANARIES = ("Mapping key not found", "Secret errors", "secret-errors", "Carla@example.org")


@pytest.mark.parametrize("who", ["nobody", "Sam"])
def test_no_page_that_a_stranger_can_open_holds_a_word_of_the_private_thread(
    thread: Thread, who: str
) -> None:
    client = Client() if who == "nobody" else as_person(thread.people[who])
    for name, case in CASES:
        if case.method == "GET":
            answer = client.get(
                reverse(name, args=case.arguments(thread.things)), {"search": "key"}
            )
            shown = b"".join(answer) if answer.streaming else answer.content
            assert not [c for c in CANARIES if c.encode() in shown], name
