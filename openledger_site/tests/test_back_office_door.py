"""The back office is entered by the site's own door, which knows the second factor and counts
guesses.
"""

from __future__ import annotations

import pytest
from django.test import Client

from openledger_site.accounts.models import User

pytestmark = pytest.mark.django_db
PASSWORD = "a long one, for once"


def test_a_password_given_to_the_back_office_signs_nobody_in(client: Client) -> None:
    User.objects.create_user(email="stella@example.org", password=PASSWORD, is_staff=True)
    given = {"username": "stella@example.org", "password": PASSWORD}
    answer = client.post("/admin/login/?next=/admin/", given)
    assert answer.status_code == 302
    assert answer["Location"].startswith("/accounts/login/?next=")
    assert "_auth_user_id" not in client.session


def test_staff_who_signed_in_are_let_in_and_others_are_not(client: Client) -> None:
    staff = User.objects.create_superuser(email="stella@example.org", password=PASSWORD)
    client.force_login(staff, backend="django.contrib.auth.backends.ModelBackend")
    assert client.get("/admin/").status_code == 200
    other = User.objects.create_user(email="sam@example.org", password=PASSWORD)
    client.force_login(other, backend="django.contrib.auth.backends.ModelBackend")
    assert client.get("/admin/login/").status_code == 403
