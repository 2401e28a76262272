"""Who asks behind proxies: what is believed, from whom, and that nobody makes an address up."""

import asyncio
import ipaddress

import pytest
from django.core.cache import cache
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory, Client, RequestFactory

from graph.proxies import client_address, trusted_proxies

CLIENT, SPOOFED = "203.0.113.9", "198.51.100.66"


@pytest.fixture(autouse=True)
def proxies(settings):
    settings.TRUSTED_PROXIES = tuple(map(ipaddress.ip_network, ["127.0.0.1", "10.0.0.0/8", "fd00::/8"]))
    settings.ALLOWED_HOSTS = ["*"]


def seen(peer: str = "127.0.0.1", **headers: str) -> HttpRequest:
    """The request as views see it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = RequestFactory().get("/", REMOTE_ADDR=peer, headers=named)
    trusted_proxies(lambda _: HttpResponse())(request)
    return request


# --- addresses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "peer, said, found",
    [
        ("127.0.0.1", CLIENT, CLIENT),
        ("127.0.0.1", f"{CLIENT}, 10.1.2.3", CLIENT),
        ("127.0.0.1", f"{SPOOFED}, {CLIENT}, 10.1.2.3", CLIENT),
        ("127.0.0.1", f"10.9.9.9,{CLIENT}", CLIENT),
        ("127.0.0.1", f"{SPOOFED}, 10.0.0.1, {CLIENT}", CLIENT),
        ("127.0.0.1", "10.4.4.4, 10.1.2.3", "10.4.4.4"),
        ("127.0.0.1", f"{CLIENT}:4711", CLIENT),
        ("127.0.0.1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("127.0.0.1", "2001:db8::7", "2001:db8::7"),
        ("127.0.0.1", f"::ffff:{CLIENT}", CLIENT),
        ("fd00::1", CLIENT, CLIENT),
        ("::ffff:10.0.0.1", CLIENT, CLIENT),
        ("127.0.0.1", f"{SPOOFED}, unknown, 10.1.2.3", "10.1.2.3"),
        ("127.0.0.1", f"{SPOOFED}, <script>", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        (CLIENT, SPOOFED, CLIENT),
        (CLIENT, "127.0.0.1", CLIENT),
        ("", SPOOFED, ""),
    ],
)
def test_the_client_is_the_nearest_address_that_is_no_proxy_of_ours(peer, said, found):
    assert client_address(seen(peer, x_forwarded_for=said)) == found


@pytest.mark.parametrize(
    "said, found",
    [
        (f"for={CLIENT};proto=https", CLIENT),
        (f'for="[2001:db8::7]:4711";by=10.0.0.1, for={SPOOFED}', SPOOFED),
        (f'For={SPOOFED}, FOR = "{CLIENT}" ; proto=https, for=10.1.2.3', CLIENT),
        (f"for={SPOOFED}, for=_hidden, for=10.1.2.3", "10.1.2.3"),
        (f'for="{SPOOFED}, for={CLIENT}', CLIENT),
        (f"proto=https, for={CLIENT}", CLIENT),
    ],
)
def test_the_header_of_rfc_7239_says_the_same(settings, said, found):
    settings.PROXY_HEADERS = "forwarded"
    assert client_address(seen(forwarded=said)) == found


def test_of_the_two_kinds_of_headers_one_is_believed(settings):
    """A proxy that writes one kind passes on what clients write into the other."""
    assert client_address(seen(forwarded=f"for={SPOOFED}")) == "127.0.0.1"
    settings.PROXY_HEADERS = "forwarded"
    assert client_address(seen(x_forwarded_for=SPOOFED)) == "127.0.0.1"
    assert not seen(x_forwarded_proto="https").is_secure()


# --- scheme and host -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers, is_secure",
    [
        ({"x_forwarded_proto": "https"}, True),
        ({"x_forwarded_proto": "http"}, False),
        ({"x_forwarded_proto": "wss"}, False),
        ({}, False),
        ({"x_forwarded_for": CLIENT, "x_forwarded_proto": "https"}, True),
        # Each proxy adds how it was asked: the client's word, https to the first one, http between the two.
        ({"x_forwarded_for": f"{CLIENT}, 10.1.2.3", "x_forwarded_proto": "http, https, http"}, True),
        ({"x_forwarded_for": f"{CLIENT}, 10.1.2.3", "x_forwarded_proto": "https, http, https"}, False),
        ({"x_forwarded_for": f"{CLIENT}, 10.1.2.3", "x_forwarded_proto": "https"}, True),
    ],
)
def test_a_request_is_secure_as_it_came_to_the_first_proxy(headers, is_secure):
    assert seen(**headers).is_secure() is is_secure


def test_nobody_else_says_that_a_request_is_secure_or_for_whom_it_is():
    request = seen(CLIENT, x_forwarded_proto="https", x_forwarded_host="files.example", host="here.example")
    assert request.build_absolute_uri("/a") == "http://here.example/a"


def test_addresses_that_are_made_begin_as_the_client_asked():
    request = seen(x_forwarded_proto="https", x_forwarded_host="files.example", host="inside:8000")
    assert request.build_absolute_uri("/a") == "https://files.example/a"


def test_under_asgi_it_is_the_same():
    async def view(request):
        return HttpResponse(f"{client_address(request)} {request.build_absolute_uri('/')}")

    forwarded = {"X-Forwarded-For": CLIENT, "X-Forwarded-Proto": "https", "X-Forwarded-Host": "files.example"}
    request = AsyncRequestFactory().get("/", headers=forwarded)
    answer = asyncio.run(trusted_proxies(view)(request))
    assert answer.content.decode() == f"{CLIENT} https://files.example/"


def test_without_proxies_nothing_is_looked_at(settings):
    settings.TRUSTED_PROXIES = ()
    with pytest.raises(MiddlewareNotUsed):
        trusted_proxies(lambda request: HttpResponse())


# --- who believes it -------------------------------------------------------------------------------


def test_the_rate_limit_counts_clients_and_not_the_proxy(settings, db):
    settings.RATE_LIMIT_ADDRESS = 1
    cache.clear()
    statuses = [
        Client()
        .post("/graphql", {"query": "{ __typename }"}, "application/json", headers={"X-Forwarded-For": each})
        .status_code
        for each in (CLIENT, "203.0.113.10", f"{SPOOFED}, {CLIENT}")
    ]
    cache.clear()
    assert statuses == [200, 200, 429]


def test_signed_addresses_begin_with_the_name_and_the_scheme_that_the_client_used(api, settings):
    api.upload(b"bytes", "a.txt")
    query = "{ files { edges { node { url { url } } } } }"
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "files.example"}
    answer = api.client.post("/graphql", {"query": query}, "application/json", headers=forwarded)
    (edge,) = answer.json()["data"]["files"]["edges"]
    assert edge["node"]["url"]["url"].startswith("https://files.example/files/")
