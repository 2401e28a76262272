"""Renditions of a running service: made once for all who ask at once, and kept."""

import io
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import httpx
import pytest
from PIL import Image

from tests.e2e import databases, server
from tests.e2e.server import Service, wait_for

pytestmark = pytest.mark.e2e

AT_ONCE = 20
RENDITION = """
    query ($id: ID!) { file(id: $id) { image { rendition(width: 320, format: WEBP) { url width height } } } }
"""


def photo() -> bytes:
    """Large enough that making a rendition takes longer than asking for one."""
    target = io.BytesIO()
    Image.effect_noise((2400, 1800), 60).convert("RGB").save(target, "JPEG")
    return target.getvalue()


def variations(service: Service) -> list[str]:
    """Of all renditions that the database knows of, made or claimed."""
    found = databases.ask(service.data_dir, "SELECT variation FROM files_rendition")
    return [str(variation) for (variation,) in found]


def test_many_who_ask_at_once_get_one_rendition(either_service: Service):
    service = either_service
    before = len(service.objects()), len(variations(service))
    uploaded = service.upload(photo(), "p.jpg", profile="image")
    # The profile's preset is made with the upload.
    wait_for("the preset", lambda: len(service.objects()) == before[0] + 2)
    wanted = service.run(RENDITION, id=uploaded["id"])["file"]["image"]["rendition"]
    together = Barrier(AT_ONCE)

    def fetch(_: int) -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=server.ANSWERS_WITHIN) as anyone:
            together.wait(timeout=server.ANSWERS_WITHIN)
            return anyone.get(wanted["url"])

    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = list(threads.map(fetch, range(AT_ONCE)))

    assert [each.status_code for each in answers] == [200] * AT_ONCE
    assert len({each.content for each in answers}) == 1
    assert Image.open(io.BytesIO(answers[0].content)).size == (wanted["width"], wanted["height"])
    assert len(service.objects()) == before[0] + 3
    assert len(variations(service)) == before[1] + 2

    service.delete(uploaded["id"])
    assert (len(service.objects()), len(variations(service))) == before
    assert httpx.get(wanted["url"], trust_env=False).status_code == 404
