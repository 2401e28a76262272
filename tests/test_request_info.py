"""The id of a request, and what is noted of it on its way."""

import json
import logging

import pytest
from django.http import StreamingHttpResponse

from config.logs import JsonFormatter
from graph.middleware import observed
from graph.request_info import CURRENT, RequestInfo, id_for
from tests.api import UPLOAD, Api, address, keep


def access(caplog: pytest.LogCaptureFixture) -> list[tuple[dict[str, object], RequestInfo]]:
    """The lines of requests: what is said of the answer, and what of the request."""
    return [
        (record.__dict__["access"], record.__dict__["request_info"])
        for record in caplog.records
        if record.name == "graph.middleware"
    ]


@pytest.fixture(autouse=True)
def _lines(caplog):
    caplog.set_level(logging.INFO, logger="graph.middleware")


@pytest.mark.parametrize("sent", ["a", "7b1f0c2e-93", "A.b_c-1", "x" * 64])
def test_an_id_that_came_along_is_kept(api, sent):
    answer = api.client.post(
        "/graphql", "{}", content_type="application/json", headers={"X-Request-ID": sent}
    )
    assert answer.headers["X-Request-ID"] == sent


@pytest.mark.parametrize(
    "sent", [None, "", "x" * 65, "a b", "a\nb", "a\r\nSet-Cookie: x=1", "\x1b[31m", "<script>", "é", "{}"]
)
def test_any_other_is_replaced(sent):
    made = id_for(sent)
    assert made != sent
    assert len(made) == 32
    assert made.isalnum()


@pytest.mark.parametrize("path", ["/", "/graphql", "/nothing", "/files/x"])
def test_every_answer_has_an_id(api, path):
    first, second = (api.client.get(path).headers["X-Request-ID"] for _ in range(2))
    assert first != second


def test_an_operation_is_noted_with_its_user(api, alice, caplog):
    api.post("query Me { viewer { username } }")
    ((answer, info),) = access(caplog)
    assert (info.kind, info.operation, info.user) == ("query", "Me", alice.pk)
    assert (answer["method"], answer["path"], answer["status"]) == ("POST", "/graphql", 200)
    assert isinstance(answer["bytesOut"], int)
    assert answer["bytesOut"] > 20
    assert isinstance(answer["ms"], float)


def test_an_upload_is_noted_by_its_size_and_not_by_its_content(api, caplog):
    with caplog.at_level(logging.DEBUG):
        api.upload(b"a secret text " * 100, "private.txt", title="A secret title")
    ((answer, info),) = access(caplog)
    assert (info.kind, info.operation) == ("mutation", "Upload")
    assert isinstance(answer["bytesIn"], int)
    assert answer["bytesIn"] > 1400
    assert "secret" not in caplog.text
    assert "secret" not in repr(answer)


def test_the_longest_name_of_an_operation_is_cut(api, caplog):
    api.post(f"query {'a' * 500} {{ viewer {{ username }} }}")
    ((_, info),) = access(caplog)
    assert info.operation == "a" * 80


def test_a_download_is_noted_without_its_signature(api, alice, caplog):
    file = keep(alice, b"some bytes")
    signed = address(file)
    assert "?" in signed
    answer = api.client.get(signed)
    assert access(caplog) == []  # it is still going out
    assert b"".join(answer.streaming_content) == b"some bytes"
    ((said, info),) = access(caplog)
    assert (info.kind, said["path"], said["bytesOut"]) == ("download", signed.partition("?")[0], 10)


def test_a_stream_that_nobody_closes_ends_when_it_is_forgotten(rf, caplog):
    answer = observed(lambda _: StreamingHttpResponse(iter([b"x"])))(rf.get("/"))
    assert access(caplog) == []
    del answer
    assert len(access(caplog)) == 1


def test_what_was_noted_is_forgotten_with_the_request(api):
    api.post("{ viewer { username } }")
    assert CURRENT.get() is None


def test_what_django_logs_of_an_answer_has_its_id_too(api, caplog):
    answer = api.client.get("/nothing")
    (record,) = [each for each in caplog.records if each.name == "django.request"]
    assert json.loads(JsonFormatter().format(record))["request"] == answer.headers["X-Request-ID"]


def test_who_signed_in_is_noted_where_somebody_asked(staff, caplog, client):
    client.force_login(staff)
    client.get("/admin/")
    ((_, info),) = access(caplog)
    assert info.user == staff.pk


def test_who_may_not_come_in_is_nobody(db, caplog):
    Api("coffer_wrong").post(UPLOAD)
    ((answer, info),) = access(caplog)
    assert (answer["status"], info.user, info.kind) == (401, None, "other")
