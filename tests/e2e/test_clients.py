"""The clients that people use: gql, and curl; each against the real service."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from gql import Client, FileVar, GraphQLRequest, gql
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.async_transport import AsyncTransport
from gql.transport.exceptions import TransportQueryError
from gql.transport.httpx import HTTPXAsyncTransport, HTTPXTransport

from tests.e2e.server import Service

pytestmark = pytest.mark.e2e

NAME = "naïve “文件” 😀.txt"
CONTENT = "Grüße\n".encode()

RESULT = """
    __typename ... on File { id name size title tags metadata } ... on Error { message }
"""
UPLOAD = f"mutation ($input: UploadFileInput!) {{ uploadFile(input: $input) {{ {RESULT} }} }}"
UPLOAD_MANY = f"mutation ($input: UploadFilesInput!) {{ uploadFiles(input: $input) {{ {RESULT} }} }}"
UPDATE = """
    mutation ($input: UpdateFileInput!) {
        updateFile(input: $input) { __typename ... on File { id name title tags } ... on Error { message } }
    }
"""
DELETE = """
    mutation ($ids: [ID!]!) {
        deleteFiles(ids: $ids) { __typename ... on DeletedFile { id } ... on FileNotFound { id } }
    }
"""
LIST = """
    query ($filters: FileFilter, $order: FileOrder, $first: Int, $after: String) {
        files(filters: $filters, order: $order, first: $first, after: $after) {
            totalCount
            edges { node { id name } }
            pageInfo { hasNextPage endCursor }
        }
    }
"""

type Ask = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / NAME
    file.write_bytes(CONTENT)
    return file


@pytest.fixture
def tag() -> str:
    """Tells the files of one test from those of all others."""
    return uuid4().hex


def nested_input(tag: str) -> dict[str, Any]:
    """What may be said of a file beside its bytes, with values of every kind."""
    metadata = {"camera": {"lens": ["35 mm", None], "flash": False}, "größe": 2.5}
    return {"title": "Grüße", "tags": [tag, "文件"], "metadata": metadata}


async def everything(ask: Ask, path: Path, tag: str) -> None:
    """What a client does with its files, from the first upload to the last deletion."""
    nested = nested_input(tag)
    one = (await ask(UPLOAD, {"input": {"file": FileVar(str(path)), **nested}}))["uploadFile"]
    assert (one["__typename"], one["name"], one["size"]) == ("File", NAME, len(CONTENT))
    assert {key: one[key] for key in nested} == nested

    files = [FileVar(str(path), filename=name) for name in ("b.txt", "a.txt", "c.txt")]
    many = (await ask(UPLOAD_MANY, {"input": {"files": files, "tags": [tag]}}))["uploadFiles"]
    assert [each["name"] for each in many] == ["b.txt", "a.txt", "c.txt"]

    listed: list[str] = []
    after = None
    while True:
        page = (
            await ask(
                LIST,
                {
                    "filters": {"tags": {"all": [tag]}, "nameContains": ".TXT"},
                    "order": {"field": "NAME", "direction": "ASC"},
                    "first": 3,
                    "after": after,
                },
            )
        )["files"]
        assert page["totalCount"] == 4
        listed += [edge["node"]["name"] for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert listed == ["a.txt", "b.txt", "c.txt", NAME]

    changes = {"id": one["id"], "title": "Überschrift", "name": "новое имя.txt"}
    changed = (await ask(UPDATE, {"input": changes}))["updateFile"]
    assert changed == {"__typename": "File", **changes, "tags": nested["tags"]}

    ids = [one["id"], *(each["id"] for each in many)]
    gone = (await ask(DELETE, {"ids": [*ids, one["id"]]}))["deleteFiles"]
    assert [each["__typename"] for each in gone] == ["DeletedFile"] * 4 + ["FileNotFound"]
    left = (await ask(LIST, {"filters": {"tags": {"any": [tag]}}}))["files"]
    assert left["edges"] == []


@pytest.mark.parametrize("transport_type", [AIOHTTPTransport, HTTPXAsyncTransport])
def test_gql_does_everything_over_its_async_transports(
    either_service: Service,
    transport_type: type[AIOHTTPTransport | HTTPXAsyncTransport],
    path: Path,
    tag: str,
) -> None:
    async def story() -> None:
        headers = {"Authorization": f"Bearer {either_service.token}"}
        transport: AsyncTransport = transport_type(url=either_service.graphql_url, headers=headers)
        # With the schema the client checks each document before it sends it.
        async with Client(transport=transport, fetch_schema_from_transport=True) as session:

            async def ask(query: str, variables: dict[str, Any]) -> dict[str, Any]:
                request = GraphQLRequest(query, variable_values=variables)
                return await session.execute(request, upload_files=query in {UPLOAD, UPLOAD_MANY})

            await everything(ask, path, tag)

    asyncio.run(story())


def test_gql_does_everything_over_its_sync_transport(either_service: Service, path: Path, tag: str) -> None:
    headers = {"Authorization": f"Bearer {either_service.token}"}
    transport = HTTPXTransport(url=either_service.graphql_url, headers=headers, trust_env=False)
    with Client(transport=transport, fetch_schema_from_transport=True) as session:

        async def ask(query: str, variables: dict[str, Any]) -> dict[str, Any]:
            request = GraphQLRequest(query, variable_values=variables)
            return session.execute(request, upload_files=query in {UPLOAD, UPLOAD_MANY})

        asyncio.run(everything(ask, path, tag))


@pytest.mark.parametrize("transport_type", [AIOHTTPTransport, HTTPXTransport])
@pytest.mark.parametrize(
    "query, token, code",
    [("{ files(first: 1000) { totalCount } }", None, "BAD_USER_INPUT"), (LIST, "wrong", "UNAUTHENTICATED")],
)
def test_gql_raises_what_the_service_says_of_a_request(
    either_service: Service,
    transport_type: type[AIOHTTPTransport | HTTPXTransport],
    query: str,
    token: str | None,
    code: str,
) -> None:
    headers = {"Authorization": f"Bearer {token or either_service.token}"}
    client = Client(transport=transport_type(url=either_service.graphql_url, headers=headers))

    def ask() -> None:
        if transport_type is AIOHTTPTransport:  # whose `execute` would make a loop and leave it open
            asyncio.run(client.execute_async(gql(query)))
        else:
            client.execute(gql(query))

    with pytest.raises(TransportQueryError) as raised:
        ask()
    assert raised.value.errors is not None
    assert [error["extensions"]["code"] for error in raised.value.errors] == [code]


def test_the_schema_that_gql_fetches_is_the_exported_one(service: Service) -> None:
    transport = HTTPXTransport(url=service.graphql_url, trust_env=False)
    with Client(transport=transport, fetch_schema_from_transport=True) as session:
        assert session.client.schema is not None
        assert set(session.client.schema.type_map) >= {"UploadFileResult", "FileConnection", "BigInt"}


# --- curl ------------------------------------------------------------------------------------------

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def curl(service: Service, *arguments: str) -> Any:
    """What `curl` prints, read as JSON."""
    ran = subprocess.run(
        [
            *("curl", "--silent", "--show-error", "--noproxy", "*"),
            *("--header", f"Authorization: Bearer {service.token}"),
            *arguments,
            service.graphql_url,
        ],
        capture_output=True,
        timeout=30,
        check=True,
    )
    return json.loads(ran.stdout)


def curl_ask(service: Service, query: str, variables: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables})
    answer = curl(service, "--header", "Content-Type: application/json", "--data-binary", body)
    assert "errors" not in answer, answer
    data: dict[str, Any] = answer["data"]
    return data


def curl_send(
    service: Service, query: str, variables: dict[str, Any], files: dict[str, Path]
) -> dict[str, Any]:
    """The multipart request specification, part by part; `files` is path in the variables -> path on disk."""
    operations = json.dumps({"query": query, "variables": variables})
    file_map = json.dumps({str(number): [place] for number, place in enumerate(files)})
    answer = curl(
        service,
        *("--form-string", f"operations={operations}"),
        *("--form-string", f"map={file_map}"),
        *(part for number, path in enumerate(files.values()) for part in ("--form", f"{number}=@{path}")),
    )
    assert "errors" not in answer, answer
    data: dict[str, Any] = answer["data"]
    return data


@needs_curl
def test_curl_does_everything(either_service: Service, tmp_path: Path, tag: str) -> None:
    name = "naïve 文件 😀.txt"
    path = tmp_path / name
    path.write_bytes(CONTENT)
    nested = nested_input(tag)
    sent = {"input": {"file": None, **nested}}
    kept = curl_send(either_service, UPLOAD, sent, {"variables.input.file": path})["uploadFile"]
    assert (kept["__typename"], kept["name"], kept["size"]) == ("File", name, len(CONTENT))
    assert {key: kept[key] for key in nested} == nested

    numbered = [tmp_path / "0.txt", tmp_path / "1.txt"]
    for file in numbered:
        file.write_bytes(CONTENT)
    places = {f"variables.input.files.{number}": file for number, file in enumerate(numbered)}
    sent = {"input": {"files": [None, None], "tags": [tag]}}
    many = curl_send(either_service, UPLOAD_MANY, sent, places)["uploadFiles"]
    assert [each["name"] for each in many] == ["0.txt", "1.txt"]

    question = {"filters": {"tags": {"all": [tag]}}, "order": {"field": "NAME"}, "first": 2}
    first = curl_ask(either_service, LIST, question)["files"]
    assert [edge["node"]["name"] for edge in first["edges"]] == ["0.txt", "1.txt"]
    assert (first["totalCount"], first["pageInfo"]["hasNextPage"]) == (3, True)
    second = curl_ask(either_service, LIST, {**question, "after": first["pageInfo"]["endCursor"]})["files"]
    assert [edge["node"]["name"] for edge in second["edges"]] == [name]

    changed = curl_ask(either_service, UPDATE, {"input": {"id": kept["id"], "title": "Später"}})["updateFile"]
    assert (changed["title"], changed["name"]) == ("Später", name)

    ids = [edge["node"]["id"] for page in (first, second) for edge in page["edges"]]
    gone = curl_ask(either_service, DELETE, {"ids": ids})["deleteFiles"]
    assert gone == [{"__typename": "DeletedFile", "id": each} for each in ids]


@needs_curl
def test_curl_is_told_who_it_has_to_be(service: Service, tmp_path: Path) -> None:
    # Large enough for curl to ask with `Expect: 100-continue` first.
    path = tmp_path / "large.bin"
    path.write_bytes(b"x" * 5_000_000)
    ran = subprocess.run(
        [
            *("curl", "--silent", "--show-error", "--noproxy", "*", "--write-out", "%{http_code}"),
            *("--form-string", "operations={}", "--form", f"0=@{path}", service.graphql_url),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert ran.stdout.endswith("401")
    assert json.loads(ran.stdout.removesuffix("401"))["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


@needs_curl
def test_curl_asks_by_get(service: Service) -> None:
    answer = curl(service, "--get", "--data-urlencode", "query={ viewer { username } }")
    assert answer == {"data": {"viewer": {"username": "alice"}}}
