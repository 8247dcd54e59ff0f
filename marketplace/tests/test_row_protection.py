"""`/v1/models` tells programs what a model promises of single rows."""

from __future__ import annotations

from django.db.models.functions import Now
from django.test import Client

from modelfactory.models import Model, Run
from modelfactory.services import publish_model, start_run
from modelfactory.tests.site.conftest import PRICES
from openledger_site.accounts.models import User
from openledger_site.accounts.services import create_api_key


def test_programs_learn_what_a_model_promises_of_single_rows(model: Model, builder: User) -> None:
    secret = create_api_key(builder, name="k", scopes=["inference"])[1]
    api = Client(headers={"authorization": f"Bearer {secret}"})
    version, base = model.run.version, model.base
    run = start_run(
        builder=builder, name="Quiet", version=version, base=base, effort="quick", epsilon=8.0
    )
    Run.objects.filter(pk=run.pk).update(adapter_digest="f" * 64, settled_at=Now())
    run.refresh_from_db()
    publish_model(run, name="Quiet", slug="quiet", card="", visibility="public", **PRICES)
    listed = {one["id"]: one["row_protection"] for one in api.get("/v1/models").json()["data"]}
    assert listed["birds"] is None
    told = listed["quiet"]
    assert (told["unit"], told["covers"], told["epsilon"]) == ("record", "adapter", 8.0)
    assert told["epsilon_spent"] <= 8
    assert 0.5 < told["guessed_right_at_most"] < 1
    assert api.get("/v1/models/quiet").json()["row_protection"] == told
