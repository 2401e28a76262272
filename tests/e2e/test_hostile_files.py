"""Hostile files sent to a running service: each is a typed error or is accepted within bounds, and neither
costs more than itself."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests import hostile
from tests.api import picture
from tests.e2e import server
from tests.e2e.conftest import Start
from tests.e2e.server import Service, wait_for

pytestmark = pytest.mark.e2e

RENDITIONS = """
    query ($id: ID!) { file(id: $id) { image {
      png: rendition(width: 64, format: PNG) { url }
      animated: rendition(width: 64, format: WEBP) { url }
      cut: rendition(width: 64, height: 64, fit: COVER, format: JPEG) { url }
    } } }
"""


@dataclass(frozen=True)
class Target:
    """A service, and the folder that it has for temporary files."""

    service: Service
    temporary: Path

    def left(self) -> tuple[int, list[str], list[str], list[str]]:
        """All that an upload may leave: rows, objects, staged bytes, temporary files."""
        return *self.service.kept(), sorted(path.name for path in self.temporary.iterdir())


@contextmanager
def attacked(kind: str, start: Start, temporary: Path) -> Iterator[Target]:
    settings = {"TMPDIR": str(temporary), "RATE_LIMIT_USER": "0"}  # one user sends all of this
    with start(f"hostile-{kind}", asgi=kind == "asgi", settings=settings) as service:
        service.upload(picture(), "warm-up.png", profile="image")
        wait_for("the preset of the first upload", lambda: len(service.objects()) == 2)
        yield Target(service, temporary)


@pytest.fixture(scope="module")
def target(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with attacked("wsgi", start, tmp_path_factory.mktemp("temporary")) as service:
        yield service


@pytest.fixture(scope="module")
def asgi_target(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with attacked("asgi", start, tmp_path_factory.mktemp("temporary")) as service:
        yield service


@pytest.fixture(params=["target", "asgi_target"], ids=["wsgi", "asgi"])
def either_target(request: pytest.FixtureRequest) -> Target:
    """Each in turn, where the kind of server might matter: for what is left over and who has to wait."""
    chosen: Target = request.getfixturevalue(request.param)
    return chosen


# --- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", hostile.REFUSED)
def test_a_hostile_file_is_a_typed_error_and_leaves_nothing(name: str, either_target: Target) -> None:
    case, target = hostile.REFUSED[name], either_target
    before = target.left()
    result = target.service.upload(case.make(), case.sent_as, profile="image")
    assert result["__typename"] == case.error, result
    assert result["message"]
    assert target.left() == before


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "GIF", "WEBP", "AVIF"])
def test_an_image_that_is_cut_anywhere_is_a_typed_error_or_an_image(format_: str, target: Target) -> None:
    service = target.service
    whole = picture(format_, size=(48, 32))
    before = target.left()
    sent = [(f"cut-{place}.bin", whole[:place]) for place in range(1, len(whole), len(whole) // 19)]
    answer = service.send(server.many_files(*sent[:20], profile="image")).json()
    assert "errors" not in answer
    results = answer["data"]["uploadFiles"]
    assert {result["__typename"] for result in results} <= {"InvalidImage", "UnsupportedType", "File"}
    assert results[0]["__typename"] == "UnsupportedType"  # of one byte
    kept = [result["id"] for result in results if result["__typename"] == "File"]
    assert len(kept) <= 2  # of which no pixel is missing
    if kept:
        service.delete(*kept)
    wait_for("nothing to be left", lambda: target.left() == before)


# --- what is accepted ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", hostile.ACCEPTED)
def test_a_hostile_image_that_is_one_is_served_and_rendered_as_nothing_else(
    name: str, target: Target
) -> None:
    case, service, before = hostile.ACCEPTED[name], target.service, target.left()
    result = service.upload(case.make(), case.sent_as, profile="image")
    assert result["__typename"] == "File", result
    answer = httpx.get(result["url"]["url"], trust_env=False)
    assert answer.headers["Content-Type"] == result["contentType"] == case.content_type
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    for rendition in service.run(RENDITIONS, id=result["id"])["file"]["image"].values():
        made = httpx.get(rendition["url"], trust_env=False, timeout=server.ANSWERS_WITHIN)
        assert made.status_code in {200, 422}, made.text
        if made.status_code == 200:
            Image.open(io.BytesIO(made.content)).load()
            assert hostile.PAYLOAD not in made.content
    service.delete(result["id"])
    wait_for("nothing to be left", lambda: target.left() == before)


OPAQUE = [name for name, case in hostile.REFUSED.items() if case.error != "EmptyFile"]


@pytest.mark.parametrize("name", OPAQUE)
def test_to_a_profile_of_any_type_a_hostile_file_is_bytes(name: str, target: Target) -> None:
    case, service = hostile.REFUSED[name], target.service
    content = case.make()
    result = service.upload(content, case.sent_as, profile="default")
    assert (result["__typename"], result["image"], result["size"]) == ("File", None, len(content))
    answer = httpx.get(result["url"]["url"], trust_env=False)
    assert answer.content == content
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    service.delete(result["id"])
