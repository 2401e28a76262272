"""Download URLs: what is signed can be fetched until it expires, and nothing else can."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit
from uuid import UUID

import pytest
from django.http import QueryDict
from django.urls import resolve
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from files import signing, validators
from files.models import File
from files.signing import Grant, Refused

ID = UUID("0190d5a0-0000-7000-8000-000000000001")
OTHER = UUID("0190d5a0-0000-7000-8000-000000000002")
NOW = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The time, at first `NOW`; called with a number it is so many seconds later."""
    shown = [NOW]
    monkeypatch.setattr(timezone, "now", lambda: shown[0])

    def forward(seconds: float) -> None:
        shown[0] += timedelta(seconds=seconds)

    return forward


def granted(*, lifetime: int = 60, download: bool = False, file_id: UUID = ID) -> Grant:
    return signing.grant(File(pk=file_id), lifetime=lifetime, download=download)


def query_of(grant: Grant, **changes: str | None) -> QueryDict:
    """The query of the grant's URL, with some of it changed, or left out where that is None."""
    fields = dict(parse_qsl(urlsplit(signing.path(grant, name="a.txt")).query)) | changes
    return QueryDict(urlencode({name: value for name, value in fields.items() if value is not None}))


def refused(query: QueryDict, file_id: UUID = ID) -> bool:
    try:
        signing.verify(file_id, query)
    except Refused:
        return True
    return False


# --- what is granted -------------------------------------------------------------------------------


@pytest.mark.parametrize("download", [False, True])
@pytest.mark.parametrize("lifetime", [1, 60, 7 * 24 * 3600])
def test_what_is_granted_is_read_back(download, lifetime):
    grant = granted(lifetime=lifetime, download=download)

    assert grant == Grant(file_id=ID, expires=int(NOW.timestamp()) + lifetime, download=download)
    assert grant.expires_at == NOW + timedelta(seconds=lifetime)
    assert signing.verify(ID, query_of(grant)) == grant


def test_the_path_leads_to_the_download_of_the_file():
    found = resolve(urlsplit(signing.path(granted(), name="a.txt")).path)

    assert found.view_name == "download"
    assert found.kwargs == {"file_id": ID, "name": "a.txt"}


@pytest.mark.parametrize(
    "name",
    [
        "a.txt",
        "two words.txt",
        "what?.txt",
        "a#b.txt",
        "a&expires=9.txt",
        "100%.txt",
        "%2e%2e%2f.txt",
        "a;b=c.txt",
        "Jahresbericht für Köln.pdf",
        "写真👍.jpg",
        '"quoted".txt',
        "a+b.txt",
        "..a",
        "'",
    ],
)
def test_any_name_passes_through_the_path(name):
    url = urlsplit(signing.path(granted(), name=name))

    assert url.path.isascii()
    assert (url.scheme, url.netloc, url.fragment) == ("", "", "")
    assert unquote(url.path).endswith(f"/{ID}/{name}")
    assert set(dict(parse_qsl(url.query))) == {"expires", "signature"}
    assert resolve(unquote(url.path)).kwargs == {"file_id": ID, "name": name}


@settings(deadline=None)
@given(st.text().map(validators.display_name))
def test_every_name_that_is_shown_passes_through_the_path(name):
    url = urlsplit(signing.path(Grant(file_id=ID, expires=1, download=True), name=name))

    assert resolve(unquote(url.path)).kwargs == {"file_id": ID, "name": name}
    assert set(dict(parse_qsl(url.query))) == {"expires", "download", "signature"}


def test_the_name_in_the_path_is_not_part_of_what_is_signed():
    one, other = (urlsplit(signing.path(granted(), name=name)).query for name in ("a.txt", "b.txt"))

    assert one == other


# --- time ------------------------------------------------------------------------------------------


def test_a_url_works_until_it_expires_and_never_again(clock):
    query = query_of(granted(lifetime=60))

    clock(60)
    assert not refused(query)
    clock(0.001)
    assert refused(query)
    clock(10**9)
    assert refused(query)


@pytest.mark.parametrize("lifetime", [-1, -(10**9)])
def test_what_expired_before_it_was_asked_for_is_refused(lifetime):
    assert refused(query_of(granted(lifetime=lifetime)))


# --- tampering -------------------------------------------------------------------------------------


def test_another_file_is_refused():
    assert refused(query_of(granted()), OTHER)


@pytest.mark.parametrize(
    "changes",
    [
        {"expires": str(int(NOW.timestamp()) + 61)},
        {"expires": "999999999999"},
        {"expires": None},
        {"expires": ""},
        {"expires": "-1"},
        {"expires": "1e12"},
        {"expires": f"{int(NOW.timestamp()) + 60}.0"},
        {"expires": f"+{int(NOW.timestamp()) + 60}"},
        {"expires": f" {int(NOW.timestamp()) + 60}"},
        {"expires": "0x7fffffff"},
        {"expires": "nan"},
        {"expires": "9" * 5_000},
        {"expires": "".join(chr(0x0660 + int(digit)) for digit in str(int(NOW.timestamp()) + 60))},
        {"expires": "".join(chr(0xFF10 + int(digit)) for digit in str(int(NOW.timestamp()) + 60))},
        {"expires": "²"},
        {"download": "1"},
        {"signature": None},
        {"signature": ""},
        {"signature": "x"},
        {"signature": "A" * 43},
        {"signature": "ü" * 43},
        {"signature": "\x00"},
        {"signature": "s" * 100_000},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_a_url_that_was_changed_is_refused(changes):
    assert refused(query_of(granted(), **changes))


@pytest.mark.parametrize(
    "changes", [{"download": None}, {"download": "0"}, {"download": "yes"}, {"download": ""}]
)
def test_a_download_cannot_be_turned_into_a_view(changes):
    assert refused(query_of(granted(download=True), **changes))


def test_every_letter_of_the_signature_counts():
    signature = str(query_of(granted())["signature"])

    for place, letter in enumerate(signature):
        other = "B" if letter == "A" else "A"
        changed = signature[:place] + other + signature[place + 1 :]
        assert refused(query_of(granted(), signature=changed))
    assert refused(query_of(granted(), signature=signature[:-1]))
    assert refused(query_of(granted(), signature=signature + "="))
    assert refused(query_of(granted(), signature=signature.swapcase()))


def test_half_a_character_in_the_signature_is_refused():
    query = QueryDict(mutable=True)
    query.update({"expires": str(int(NOW.timestamp()) + 60), "signature": "\ud800"})

    assert refused(query)


def test_the_signature_of_one_grant_does_not_fit_another():
    signatures = {
        query_of(granted(lifetime=lifetime, download=download, file_id=file_id))["signature"]
        for lifetime in (60, 61)
        for download in (False, True)
        for file_id in (ID, OTHER)
    }

    assert len(signatures) == 8


def test_a_url_of_another_deployment_is_refused(settings):
    query = query_of(granted())
    settings.SECRET_KEY = "another-key-0123456789-0123456789-0123456789"

    assert refused(query)


def test_an_empty_query_is_refused():
    assert refused(QueryDict(""))


# --- parameters that come twice --------------------------------------------------------------------


@pytest.mark.parametrize(
    "more", ["expires=999999999999", "expires=", "download=1", "signature=x", "signature="]
)
@pytest.mark.parametrize("before", [True, False])
def test_a_parameter_that_comes_twice_never_grants_more(more, before):
    signed = query_of(granted()).urlencode()
    query = QueryDict(f"{more}&{signed}" if before else f"{signed}&{more}")

    try:
        found = signing.verify(ID, query)
    except Refused:
        return
    assert found == granted()


def test_a_parameter_that_nobody_knows_changes_nothing():
    query = QueryDict(query_of(granted()).urlencode() + "&utm_source=mail")

    assert signing.verify(ID, query) == granted()
