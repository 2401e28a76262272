"""The first user: made in an empty database alone, with a password that is known once."""

import pytest
from django.contrib.auth.password_validation import validate_password
from django.db.models import QuerySet

from accounts import first_user
from accounts.models import User

pytestmark = pytest.mark.django_db


def test_an_empty_database_gets_a_superuser_with_a_password_that_opens() -> None:
    password = first_user.make()
    assert password is not None
    validate_password(password)
    admin = User.objects.get()
    assert (admin.username, admin.is_superuser, admin.is_staff, admin.is_active) == (
        "admin",
        True,
        True,
        True,
    )
    assert admin.check_password(password)
    assert password not in admin.password


def test_where_there_is_anybody_nobody_is_made(alice: User) -> None:
    alice.is_active = False
    alice.save()
    assert first_user.make() is None
    assert list(User.objects.all()) == [alice]


def test_each_password_is_another() -> None:
    passwords = set()
    for _ in range(3):
        passwords.add(first_user.make())
        User.objects.all().delete()
    assert len(passwords) == 3


def test_who_comes_second_in_a_race_has_no_password_to_say(monkeypatch) -> None:
    password = first_user.make()
    monkeypatch.setattr(QuerySet, "exists", lambda _: False)  # as it was when this one looked
    assert first_user.make() is None
    assert User.objects.get().check_password(password or "")


def test_a_password_is_to_be_changed_until_any_is_set() -> None:
    first_user.make()
    admin = User.objects.get()
    assert admin.must_change_password
    admin.set_password("a password of my own")
    admin.save()
    assert not User.objects.get().must_change_password
