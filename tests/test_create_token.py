"""`manage.py create_token`: one token on standard output and nothing else there."""

import io
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts import tokens
from accounts.models import ApiToken, User

pytestmark = pytest.mark.django_db


def create_token(*arguments: str) -> tuple[str, str]:
    """What the command writes to standard output and to standard error."""
    output, errors = io.StringIO(), io.StringIO()
    call_command("create_token", *arguments, stdout=output, stderr=errors)
    return output.getvalue(), errors.getvalue()


def test_a_user_is_made_and_the_token_opens() -> None:
    output, errors = create_token("carol")
    token = tokens.authenticate(output.removesuffix("\n"))
    assert token.user.username == "carol"
    assert errors == "Made the user carol.\n"


def test_only_the_token_goes_to_standard_output() -> None:
    output, errors = create_token("carol")
    assert output.endswith("\n")
    assert len(output.split()) == 1
    assert output.strip() not in errors


def test_a_user_who_is_made_has_no_password_and_no_rights() -> None:
    create_token("carol")
    carol = User.objects.get()
    assert not carol.has_usable_password()
    assert carol.is_active
    assert not carol.is_staff
    assert not carol.is_superuser


def test_a_user_who_is_there_gets_one_more_token(alice: User) -> None:
    first, errors = create_token("alice")
    second, _ = create_token("alice")
    assert errors == ""
    assert first != second
    assert [tokens.authenticate(output.strip()).user for output in (first, second)] == [alice, alice]
    assert User.objects.count() == 1


def test_a_token_has_a_name_both_scopes_and_no_end_unless_it_is_said() -> None:
    create_token("carol")
    token = ApiToken.objects.get()
    assert (token.name, token.scopes, token.expires_at) == ("command line", ["read", "write"], None)


def test_name_scopes_and_days_are_the_tokens() -> None:
    before = timezone.now()
    create_token("carol", "--name", "nightly backup", "--scopes", "read", "--days", "30")
    token = ApiToken.objects.get()
    assert (token.name, token.scopes) == ("nightly backup", ["read"])
    assert token.expires_at is not None
    assert before <= token.expires_at - timedelta(days=30) <= timezone.now()


@pytest.mark.parametrize(
    "given, scopes",
    [
        ("read", ["read"]),
        ("write", ["write"]),
        ("read,write", ["read", "write"]),
        ("write, read", ["read", "write"]),
        ("read,read", ["read"]),
    ],
)
def test_scopes_are_named_with_commas(given: str, scopes: list[str]) -> None:
    create_token("carol", "--scopes", given)
    assert ApiToken.objects.get().scopes == scopes


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["carol", "--scopes", "fly"], "--scopes fly"),
        (["carol", "--scopes", "read,fly"], "--scopes read,fly"),
        (["carol", "--scopes", "READ"], "--scopes READ"),
        (["carol", "--scopes", ""], "--scopes"),
        (["carol", "--scopes", "read,"], "--scopes"),
        (["carol", "--days", "0"], "--days 0"),
        (["carol", "--days", "-1"], "--days -1"),
        (["carol", "--days", "36501"], "--days 36501"),
        (["carol", "--days", "999999999999"], "--days 999999999999"),
        (["carol", "--days", "soon"], "--days"),
        (["carol", "--name", ""], "--name"),
        (["carol", "--name", "x" * 101], "--name"),
        (["carol dean"], "'carol dean'"),
        (["carol/dean"], "'carol/dean'"),
        (["x" * 151], "USERNAME"),
        ([""], "USERNAME"),
        ([], "USERNAME"),
    ],
)
def test_what_cannot_be_used_is_named_and_nothing_is_made(arguments: list[str], named: str) -> None:
    with pytest.raises(CommandError) as raised:
        create_token(*arguments)
    assert named in str(raised.value)
    assert not User.objects.exists()
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize("days", ["1", "36500"])
def test_the_first_and_the_last_number_of_days_can_be_used(days: str) -> None:
    create_token("carol", "--days", days)
    assert ApiToken.objects.get().is_usable


def test_the_longest_name_can_be_used() -> None:
    create_token("carol", "--name", "x" * 100)
    assert ApiToken.objects.get().name == "x" * 100


def test_a_locked_out_user_gets_no_token(alice: User) -> None:
    alice.is_active = False
    alice.save()
    with pytest.raises(CommandError, match="alice is locked out"):
        create_token("alice")
    assert not ApiToken.objects.exists()


def test_a_user_is_not_made_when_the_token_cannot_be(monkeypatch) -> None:
    def fail(**options: object) -> None:
        raise RuntimeError("no token")

    monkeypatch.setattr(tokens, "issue", fail)
    with pytest.raises(RuntimeError, match="no token"):
        create_token("carol")
    assert not User.objects.exists()


def test_the_help_names_every_option(capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        call_command("create_token", "--help")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for word in ("USERNAME", "--name", "--scopes", "--days", "read,write", "never"):
        assert word in text
