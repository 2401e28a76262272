"""API tokens: seen once, kept as a hash, worth nothing once expired, revoked or their user locked out."""

import hashlib
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection
from django.utils import timezone

from accounts import tokens
from accounts.models import ApiToken, Scope, User
from accounts.viewer import Viewer

type QueryCount = Callable[[int], AbstractContextManager[object]]


def test_a_secret_opens_its_token(alice: User) -> None:
    token, secret = tokens.issue(user=alice, name="backup")
    found = tokens.authenticate(secret)
    assert (found, found.user, found.name) == (token, alice, "backup")


def test_only_the_hash_of_a_secret_is_stored(alice: User) -> None:
    _, secret = tokens.issue(user=alice, name="backup")
    row = ApiToken.objects.values().get()
    assert row["digest"] == hashlib.sha256(secret.encode()).hexdigest()
    random_part = secret.removeprefix("coffer_")
    for column, value in row.items():
        assert secret not in str(value), column
        assert random_part not in str(value), column
        assert random_part[4:] not in str(value), column


def test_the_hint_shows_four_letters_of_the_secret(alice: User) -> None:
    token, secret = tokens.issue(user=alice, name="backup")
    assert token.hint == secret[: len("coffer_") + 4]
    assert str(token) == f"backup ({token.hint}…)"


def test_secrets_are_long_and_never_the_same(alice: User) -> None:
    secrets = {tokens.issue(user=alice, name="backup")[1] for _ in range(20)}
    assert len(secrets) == 20
    # 256 bits in base64
    assert {len(secret.removeprefix("coffer_")) for secret in secrets} == {43}
    assert all(secret.startswith("coffer_") for secret in secrets)


@pytest.mark.parametrize(
    "change",
    [
        lambda secret: "",
        lambda secret: "coffer_",
        lambda secret: secret[:-1],
        lambda secret: secret + "x",
        lambda secret: secret.upper(),
        lambda secret: f" {secret}",
        lambda secret: hashlib.sha256(secret.encode()).hexdigest(),
        lambda secret: "ÿ\x00\udcff",
        lambda secret: "' OR 1=1 --",
    ],
    ids=["empty", "prefix", "shorter", "longer", "upper case", "space", "digest", "odd characters", "sql"],
)
def test_a_wrong_secret_opens_nothing(alice: User, change: Callable[[str], str]) -> None:
    _, secret = tokens.issue(user=alice, name="backup")
    with pytest.raises(tokens.InvalidToken):
        tokens.authenticate(change(secret))


@pytest.mark.parametrize(
    "seconds, usable", [(-3600, False), (-1, False), (0, False), (60, True), (3600, True)]
)
def test_a_token_opens_until_it_expires(alice: User, seconds: int, usable: bool) -> None:
    expires_at = timezone.now() + timedelta(seconds=seconds)
    token, secret = tokens.issue(user=alice, name="backup", expires_at=expires_at)
    assert token.is_usable is usable
    if usable:
        assert tokens.authenticate(secret) == token
    else:
        with pytest.raises(tokens.InvalidToken):
            tokens.authenticate(secret)


def test_a_revoked_token_opens_nothing_and_leaves_the_users_others(alice: User) -> None:
    token, secret = tokens.issue(user=alice, name="lost")
    other, other_secret = tokens.issue(user=alice, name="kept")
    tokens.revoke(token)
    with pytest.raises(tokens.InvalidToken):
        tokens.authenticate(secret)
    assert tokens.authenticate(other_secret) == other


def test_revoking_twice_keeps_the_first_time(alice: User) -> None:
    token, _ = tokens.issue(user=alice, name="lost")
    tokens.revoke(token)
    first = ApiToken.objects.get().revoked_at
    tokens.revoke(ApiToken.objects.get())
    assert first is not None
    assert ApiToken.objects.get().revoked_at == first


def test_a_token_of_a_locked_out_user_opens_nothing(alice: User) -> None:
    token, secret = tokens.issue(user=alice, name="backup")
    alice.is_active = False
    alice.save()
    with pytest.raises(tokens.InvalidToken):
        tokens.authenticate(secret)
    alice.is_active = True
    alice.save()
    assert tokens.authenticate(secret) == token


def test_the_tokens_of_a_user_who_is_deleted_are_gone(alice: User) -> None:
    _, secret = tokens.issue(user=alice, name="backup")
    alice.delete()
    with pytest.raises(tokens.InvalidToken):
        tokens.authenticate(secret)


def test_why_a_secret_is_refused_is_not_told(alice: User) -> None:
    revoked, revoked_secret = tokens.issue(user=alice, name="revoked")
    tokens.revoke(revoked)
    _, expired_secret = tokens.issue(user=alice, name="expired", expires_at=timezone.now())
    answers = set()
    for secret in (revoked_secret, expired_secret, "coffer_unknown"):
        with pytest.raises(tokens.InvalidToken) as raised:
            tokens.authenticate(secret)
        answers.add(str(raised.value))
    assert answers == {""}


# --- last use --------------------------------------------------------------------------------------


def use_after(secret: str, *, seconds: int) -> bool:
    """Whether a use this long after the last one is written."""
    last = timezone.now() - timedelta(seconds=seconds)
    ApiToken.objects.update(last_used_at=last)
    tokens.authenticate(secret)
    return ApiToken.objects.get().last_used_at != last


def test_the_first_use_is_written(alice: User) -> None:
    _, secret = tokens.issue(user=alice, name="backup")
    assert ApiToken.objects.get().last_used_at is None
    before = timezone.now()
    tokens.authenticate(secret)
    used = ApiToken.objects.get().last_used_at
    assert used is not None
    assert before <= used <= timezone.now()


@pytest.mark.parametrize("seconds, written", [(1, False), (50, False), (61, True), (86_400, True)])
def test_use_is_written_once_a_minute_at_the_most(alice: User, seconds: int, written: bool) -> None:
    _, secret = tokens.issue(user=alice, name="backup")
    assert use_after(secret, seconds=seconds) is written


def test_a_token_in_constant_use_costs_one_query(alice: User, django_assert_num_queries: QueryCount) -> None:
    _, secret = tokens.issue(user=alice, name="backup")
    tokens.authenticate(secret)
    with django_assert_num_queries(1):
        assert tokens.authenticate(secret).user.username == "alice"


def test_a_refused_secret_is_no_use(alice: User) -> None:
    token, secret = tokens.issue(user=alice, name="backup")
    tokens.revoke(token)
    with pytest.raises(tokens.InvalidToken):
        tokens.authenticate(secret)
    assert ApiToken.objects.get().last_used_at is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [OperationalError("readonly database"), DatabaseError("full")])
def test_a_use_that_cannot_be_written_does_not_keep_the_token_from_opening(
    alice: User, caplog, error: Exception
) -> None:
    token, secret = tokens.issue(user=alice, name="backup")

    def fail(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE"):
            raise error
        return execute(sql, *rest)

    with connection.execute_wrapper(fail), caplog.at_level(logging.WARNING):
        assert tokens.authenticate(secret) == token
    assert ApiToken.objects.get().last_used_at is None
    (record,) = caplog.records
    assert str(token.pk) in record.getMessage()
    assert secret not in caplog.text


# --- scopes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given, stored",
    [
        ((Scope.READ, Scope.WRITE), ["read", "write"]),
        ((Scope.WRITE, Scope.READ, Scope.WRITE), ["read", "write"]),
        ((Scope.READ,), ["read"]),
        ((Scope.WRITE,), ["write"]),
    ],
)
def test_a_token_may_do_what_its_scopes_say(alice: User, given: tuple[Scope, ...], stored: list[str]) -> None:
    _, secret = tokens.issue(user=alice, name="backup", scopes=given)
    assert ApiToken.objects.get().scopes == stored
    viewer = Viewer.of_token(tokens.authenticate(secret))
    assert viewer.user == alice
    assert [scope.value for scope in Scope if viewer.may(scope)] == stored


def test_a_token_may_read_and_write_unless_it_is_said(alice: User) -> None:
    token, _ = tokens.issue(user=alice, name="backup")
    assert token.scopes == ["read", "write"]


def test_a_scope_that_is_not_known_any_more_opens_nothing(alice: User) -> None:
    token, _ = tokens.issue(user=alice, name="backup")
    token.scopes = ["read", "fly"]
    assert Viewer.of_token(token).scopes == {Scope.READ}


@pytest.mark.parametrize("scope, may", [(Scope.READ, True), (Scope.WRITE, False)])
def test_nobody_may_read_and_not_write(scope: Scope, may: bool) -> None:
    assert Viewer.nobody().user is None
    assert Viewer.nobody().may(scope) is may


@pytest.mark.parametrize("scope", Scope)
def test_a_signed_in_user_may_do_everything(alice: User, scope: Scope) -> None:
    assert Viewer.signed_in(alice).may(scope)
