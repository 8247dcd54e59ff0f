"""`python -m bench.intake.prepare`: a person, their key and a Datanet; prints slug and secret."""

from __future__ import annotations

import json

import django

LICENCE = "PSF-2.0"


def main() -> None:
    django.setup()
    from datanets.services import create_datanet
    from openledger_site.accounts.models import User
    from openledger_site.accounts.services import create_api_key

    owner = User.objects.create_user("intake@example.org", display_name="Intake")
    _, secret = create_api_key(owner, name="bench", scopes=["data"])
    datanet = create_datanet(
        owner=owner, name="Intake", description="", licence=LICENCE, visibility="public"
    )
    print(json.dumps({"slug": datanet.slug, "secret": secret}))


if __name__ == "__main__":
    main()
