"""Images that take their decoder as long as there is time."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests import hostile
from tests.api import picture
from tests.e2e import server
from tests.e2e.server import wait_for
from tests.e2e.test_hostile_files import Target

pytestmark = pytest.mark.e2e


def test_others_are_answered_while_a_decoder_is_stuck(either_target: Target) -> None:
    service, before = either_target.service, either_target.left()
    scans = hostile.jpeg_of_scans(hostile.BOMB_SIDE, 20_000)
    answered = 0
    with ThreadPoolExecutor(1) as threads, httpx.Client(timeout=2 * server.ANSWERS_WITHIN) as own:
        bomb = server.one_file(scans, "scans.jpg", profile="image")
        headers = {"Authorization": f"Bearer {service.token}", "Content-Type": bomb.content_type}
        stuck = threads.submit(own.post, service.graphql_url, content=bomb.body, headers=headers)
        small = service.upload(picture(), "small.png", profile="image")
        while not stuck.done():
            service.run("query { files(first: 1) { edges { node { name } } } }")
            answered += 1
        result = stuck.result().json()["data"]["uploadFile"]
    assert small["__typename"] == "File"
    assert answered > 10
    assert (result["__typename"], result["reason"]) == ("InvalidImage", "it takes too long to decode")
    service.delete(small["id"])
    wait_for("nothing to be left", lambda: either_target.left() == before)
