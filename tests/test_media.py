"""Files on an origin of their own: what is answered where, and that no cookie gets there."""

import asyncio

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory, Client

from graph.media import media_origin
from tests.api import picture

MAIN, MEDIA = "coffer.example", "files.example"


@pytest.fixture(autouse=True)
def origin(settings, storage_root):
    settings.MEDIA_ORIGIN = f"https://{MEDIA}"
    settings.ALLOWED_HOSTS = [MAIN, MEDIA]


def at(host: str) -> Client:
    return Client(headers={"Host": host})


@pytest.fixture
def addresses(api) -> list[str]:
    """Of a file and of a rendition, without the origin."""
    api.client = Client(headers={"Host": MAIN, "Authorization": api.client.defaults["HTTP_AUTHORIZATION"]})
    file = api.upload(picture("PNG", (40, 30)), "a.png", profile="image")
    query = "query ($id: ID!) { file(id: $id) { url { url } image { rendition(width: 20) { url } } } }"
    found = api.run(query, id=file["id"])["file"]
    whole = [found["url"]["url"], found["image"]["rendition"]["url"]]
    assert all(each.startswith(f"https://{MEDIA}/") for each in whole)
    return [each.removeprefix(f"https://{MEDIA}") for each in whole]


def test_files_and_renditions_are_served_there(addresses):
    for address in addresses:
        answer = at(MEDIA).get(address)
        assert answer.status_code == 200
        assert answer.getvalue()


@pytest.mark.parametrize("path", ["/", "/graphql", "/graphql/", "/admin/", "/login/", "/static/graph/x.js"])
def test_nothing_else_is_there(path):
    for answer in (at(MEDIA).get(path), at(MEDIA).post(path)):
        assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (404, "NOT_FOUND")
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert not answer.cookies


def test_a_port_or_capitals_are_no_way_around_it(settings):
    for host in (f"{MEDIA}:8443", MEDIA.upper()):
        assert at(host).get("/login/").status_code == 404


def test_who_is_signed_in_is_nobody_there(addresses, alice):
    """As if a proxy, or a cookie for the whole domain, had brought them along."""
    client = at(MEDIA)
    client.force_login(alice)
    for path in ("/", "/admin/", addresses[0]):
        answer = client.get(path)
        assert not answer.cookies
        assert "HTTP_COOKIE" not in answer.wsgi_request.META
        answer.close()


def test_elsewhere_an_address_of_a_file_leads_there(addresses):
    for address in addresses:
        answer = at(MAIN).get(address)
        assert (answer.status_code, answer["Location"]) == (307, f"https://{MEDIA}{address}")
    assert at(MAIN).get("/login/").status_code == 200


def test_under_asgi_it_is_the_same(addresses):
    async def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(status=204)

    def status(host: str, path: str) -> int:
        request = AsyncRequestFactory().get(path)
        request.META["HTTP_HOST"] = host
        return int(asyncio.run(media_origin(view)(request)).status_code)

    assert [status(host, addresses[0]) for host in (MEDIA, MAIN)] == [204, 307]
    assert [status(host, "/login/") for host in (MEDIA, MAIN)] == [404, 204]


def test_a_name_that_is_not_ours_is_refused(addresses):
    assert at("evil.example").get(addresses[0]).status_code == 400
