"""The members page: add, change, remove, hand over."""

from __future__ import annotations

import pytest
from allauth.account.models import EmailAddress
from django.urls import reverse

from datanets import selectors
from datanets.models import Datanet, Membership
from datanets.roles import ABILITIES, role_table

pytestmark = pytest.mark.django_db


def url(name: str, datanet: Datanet, *more: object) -> str:
    return reverse(f"datanets:{name}", args=[datanet.slug, *more])


def test_only_the_owner_sees_and_names_members(as_user, datanet, owner, curator, builder):
    members = url("member-list", datanet)
    assert as_user(curator).get(members).status_code == 404
    form = {"email": builder.email.upper(), "role": "reader"}
    assert as_user(owner).post(members, form).status_code == 302
    assert Membership.objects.get(user=builder).role == "reader"
    assert b"Bo" in as_user(owner).get(members).content


def test_an_unknown_member_is_refused_beside_the_field(as_user, datanet, owner):
    form = {"email": "nobody@example.org", "role": "reader"}
    answer = as_user(owner).post(url("member-list", datanet), form)
    assert answer.status_code == 422
    assert b"Nobody has signed up" in answer.content


def test_an_address_is_nobodys_until_it_is_confirmed(client, as_user, private, owner):
    """Else whoever signs up first with the address of somebody else gets their rights."""
    words = {"password1": "correct horse 7 battery", "password2": "correct horse 7 battery"}
    client.post(reverse("account_signup"), {"email": "doctor@clinic.example", **words})
    form = {"email": "doctor@clinic.example", "role": "reader"}
    answer = as_user(owner).post(url("member-list", private), form)
    assert client.get(private.get_absolute_url()).status_code == 404
    assert answer.status_code == 422
    assert b"has not been confirmed" in answer.content
    EmailAddress.objects.update(verified=True)
    assert as_user(owner).post(url("member-list", private), form).status_code == 302
    assert client.get(private.get_absolute_url()).status_code == 200


def test_a_role_is_changed_and_never_to_owner(as_user, datanet, owner, curator):
    member = datanet.memberships.get(user=curator)
    path = url("member-role", datanet, member.pk)
    for role, left in (("trainer", "trainer"), ("owner", "trainer"), ("nonsense", "trainer")):
        as_user(owner).post(path, {"role": role})
        member.refresh_from_db()
        assert member.role == left


def test_a_member_is_removed_and_the_owner_never(as_user, datanet, owner, curator):
    for member in datanet.memberships.all():
        as_user(owner).post(url("member-remove", datanet, member.pk))
        as_user(owner).post(url("member-role", datanet, member.pk), {"role": "reader"})
    assert [member.role for member in datanet.memberships.all()] == ["owner"]


def test_members_of_other_datanets_are_out_of_reach(as_user, datanet, private, owner, stranger):
    member = Membership.objects.create(datanet=private, user=stranger, role="reader")
    answer = as_user(owner).post(url("member-remove", datanet, member.pk))
    assert answer.status_code == 404
    assert private.memberships.filter(pk=member.pk).exists()


def test_a_datanet_is_handed_over_when_its_name_is_written(as_user, datanet, owner, curator):
    member, path = datanet.memberships.get(user=curator), url("owner-transfer", datanet)
    wrong = as_user(owner).post(path, {"member": member.pk, "confirm": "python"})
    assert wrong.status_code == 422
    assert b"This is not its name" in wrong.content
    assert as_user(curator).post(path, {"member": member.pk}).status_code == 404
    as_user(owner).post(path, {"member": member.pk, "confirm": datanet.name})
    datanet.refresh_from_db()
    assert datanet.owner == curator
    roles = dict(datanet.memberships.values_list("user__display_name", "role"))
    assert roles == {"Olive": "curator", "Rene": "owner"}
    assert as_user(owner).get(url("member-list", datanet)).status_code == 404


def test_the_table_of_roles_says_what_the_site_does(private, stranger):
    heads, lines = role_table()
    assert [line.name for line in lines] == [ability for ability, _ in ABILITIES]
    for at, (head, role) in enumerate(zip(heads, Membership.Role, strict=True)):
        if role == "owner":
            continue
        Membership.objects.update_or_create(
            datanet=private, user=stranger, defaults={"role": str(role)}
        )
        rights = selectors.rights_of(stranger, private)
        allowed = (rights.contribute, rights.train, rights.read, rights.review, rights.curate)
        assert [line.cells[at] for line in lines] == [(head, can) for can in (*allowed, rights.own)]


def test_the_page_shows_can_and_cannot(as_user, datanet, owner):
    page = as_user(owner).get(url("member-list", datanet)).content.decode()
    assert "What each role can and cannot do" in page
    assert "Trainer" in page
