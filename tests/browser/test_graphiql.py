"""GraphiQL in a browser: files go through its pane, and nothing goes elsewhere."""

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from PIL import ImageStat
from playwright.sync_api import BrowserContext, expect

from tests.api import UPLOAD, UPLOAD_MANY, picture
from tests.browser.conftest import Watched, watch
from tests.browser.graphiql import GraphiQL
from tests.browser.pictures import landscape, screenshot
from tests.e2e.conftest import DEVELOPER, Start
from tests.e2e.server import Service, wait_for

pytestmark = pytest.mark.browser

LARGE = 6_000_000  # bytes; the profile `avatar` takes 5 MB
BYTES_A_SECOND = 200_000  # of a slow line: what is large takes half a minute


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "red.png", tmp_path / "blue.png"]
    for path in paths:
        path.write_bytes(picture(color=path.stem))
    return paths


def test_two_files_go_through_the_pane_and_their_answer_is_shown(
    signed_in: Watched, service: Service, pictures: list[Path]
) -> None:
    graphiql = GraphiQL.opened(signed_in)
    graphiql.pick(*pictures)
    expect(graphiql.files.get_by_text("red.png")).to_be_visible()
    expect(graphiql.files.locator("img").first).to_have_js_property("naturalWidth", 40)
    assert graphiql.paths() == ["variables.input.files.0", "variables.input.files.1"]

    before = service.rows()
    results = graphiql.run()["data"]["uploadFiles"]
    assert [(each["__typename"], each["name"], each["image"]["width"]) for each in results] == [
        ("File", "red.png", 40),
        ("File", "blue.png", 40),
    ]
    expect(graphiql.page.locator(".graphiql-response .view-lines")).to_contain_text("blue.png")
    assert service.rows() == before + 2


def test_a_file_that_is_too_large_is_refused_in_words(
    signed_in: Watched, service: Service, tmp_path: Path
) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(bytes(LARGE))
    graphiql = GraphiQL.opened(signed_in, UPLOAD, {"input": {"profile": "avatar"}})
    graphiql.pick(large)
    before = service.kept()
    result = graphiql.run()["data"]["uploadFile"]
    assert result["__typename"] == "FileTooLarge"
    expect(graphiql.page.locator(".graphiql-response .view-lines")).to_contain_text(result["message"])
    assert service.kept() == before


def test_an_upload_that_is_cancelled_midway_leaves_nothing(
    signed_in: Watched, service: Service, tmp_path: Path
) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(LARGE))
    graphiql = GraphiQL.opened(signed_in, UPLOAD)
    graphiql.pick(large)
    line = graphiql.page.context.new_cdp_session(graphiql.page)
    slow = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": BYTES_A_SECOND, "offline": False}
    line.send("Network.emulateNetworkConditions", slow)
    before = service.kept()

    graphiql.start()
    progress = graphiql.files.get_by_role("progressbar")
    expect(progress).to_be_visible()
    wait_for("some progress", lambda: progress.evaluate("(bar) => bar.value") > LARGE // 10)
    wait_for("the first bytes", lambda: service.staged() != before[2])
    graphiql.files.get_by_role("button", name="Cancel").click()

    assert graphiql.answer() == {"errors": [{"message": "Cancelled."}]}
    expect(progress).to_have_count(0)
    wait_for("the end of the request", lambda: service.kept() == before)


def test_places_for_files_are_found_in_the_variables(watched: Watched, pictures: list[Path]) -> None:
    graphiql = GraphiQL.opened(watched)
    graphiql.pick(*pictures)
    for variables, paths in [
        ("$file: Upload!", ["variables.file", ""]),
        ("$a: Upload, $b: Upload!", ["variables.a", "variables.b"]),
        ("$files: [Upload!]!", ["variables.files.0", "variables.files.1"]),
        ("$input: UploadFileInput!", ["variables.input.file", ""]),
        ("$input: UploadFilesInput!", ["variables.input.files.0", "variables.input.files.1"]),
        ("$many: [UploadFileInput!]!", ["variables.many.0.file", "variables.many.1.file"]),
        ("$id: ID!", ["", ""]),
    ]:
        graphiql.write("operation.graphql", f"query Places({variables}) {{ __typename }}")
        for field, path in zip(graphiql.files.get_by_role("combobox").all(), paths, strict=True):
            expect(field).to_have_value(path)


def test_a_file_goes_where_it_is_told_to(signed_in: Watched, pictures: list[Path]) -> None:
    graphiql = GraphiQL.opened(signed_in, UPLOAD_MANY)
    graphiql.pick(*pictures)
    field = graphiql.files.get_by_label("Variable for red.png")
    field.fill("variables.input.files.1")
    assert graphiql.paths() == ["variables.input.files.1", "variables.input.files.0"]
    assert [each["name"] for each in graphiql.run()["data"]["uploadFiles"]] == ["blue.png", "red.png"]

    graphiql.files.get_by_role("button", name="Remove blue.png").click()
    field.fill("variables.elsewhere")
    expect(graphiql.files.get_by_text("the operation has no such variable")).to_be_visible()
    graphiql.write("response.json", "")
    assert "pick one in the Files pane" in graphiql.run()["errors"][0]["message"]


def test_the_starter_tabs_run_as_they_stand_one_after_the_other(
    signed_in: Watched, service: Service, pictures: list[Path]
) -> None:
    graphiql = GraphiQL.opened(signed_in)
    before = service.rows()

    def run(tab: str) -> Any:
        graphiql.tab(tab)
        graphiql.write("response.json", "")
        answer = graphiql.run()
        return answer.get("data") or answer["errors"][0]["message"]

    assert "Nothing was uploaded from this page yet" in run("Update")
    assert "pick one in the Files pane" in run("Upload")
    graphiql.pick(pictures[0])
    (uploaded,) = run("Upload")["uploadFiles"]
    node = run("Library")["files"]["edges"][0]["node"]
    assert (node["id"], node["image"]["square"]["width"]) == (uploaded["id"], 20)
    assert run("Update")["updateFile"]["title"] == "A new title"
    assert run("Delete")["deleteFiles"] == [{"__typename": "DeletedFile", "id": uploaded["id"]}]
    assert service.rows() == before


def test_an_operation_runs_the_moment_after_its_tab_was_opened(signed_in: Watched) -> None:
    """GraphiQL learns its name a little later."""
    graphiql = GraphiQL.opened(signed_in, "query Before { before: __typename }")
    graphiql.run()
    graphiql.write("response.json", "")
    graphiql.page.evaluate(
        """([query]) => {
            const of = (name) => __MONACO.editor.getModels().find((each) => each.uri.path.endsWith(name));
            of('operation.graphql').setValue(query);
            document.querySelector('.graphiql-execute-button').click();
        }""",
        ["query After { after: __typename }"],
    )
    assert graphiql.answer() == {"data": {"after": "Query"}}


def test_a_pasted_token_opens_the_service_and_is_not_kept_in_the_browser(
    watched: Watched, service: Service, pictures: list[Path]
) -> None:
    graphiql = GraphiQL.opened(watched, UPLOAD)
    graphiql.pick(pictures[0])
    assert graphiql.run()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    watched.complaints.clear()  # the browser tells of HTTP 401

    graphiql.page.get_by_role("button", name="Headers").click()
    graphiql.write("request-headers.json", json.dumps({"Authorization": f"Bearer {service.token}"}))
    graphiql.write("response.json", "")
    assert graphiql.run()["data"]["uploadFile"]["name"] == "red.png"
    assert service.token not in graphiql.page.evaluate("JSON.stringify(localStorage)")


def test_docs_history_and_explorer_are_there(signed_in: Watched) -> None:
    graphiql = GraphiQL.opened(signed_in, "query Who { viewer { username } }")
    assert graphiql.run() == {"data": {"viewer": {"username": signed_in.reader}}}
    page = graphiql.page
    page.get_by_role("button", name="Show Documentation Explorer").click()
    expect(page.get_by_text("storageUsage")).to_be_visible()
    page.get_by_role("button", name="Show History").click()
    expect(page.locator(".graphiql-history-item").first).to_contain_text("Who")
    page.get_by_role("button", name="Show GraphiQL Explorer").click()
    expect(page.locator(".graphiql-explorer-root")).to_contain_text("uploadProfiles")


def test_the_editors_know_the_schema(signed_in: Watched) -> None:
    """Its worker found it: a field that is not in the schema is underlined."""
    graphiql = GraphiQL.opened(signed_in, "query Wrong { nothing }")
    expect(graphiql.page.locator(".graphiql-query-editor .squiggly-error").first).to_be_visible()
    graphiql.write("variables.json", "{")
    expect(graphiql.page.locator(".graphiql-editor-tool .squiggly-error").first).to_be_visible()


@pytest.mark.parametrize("scheme, is_dark", [("light", False), ("dark", True)])
def test_it_is_dark_for_those_who_like_it_dark(
    signed_in: Watched, tmp_path: Path, scheme: Literal["light", "dark"], is_dark: bool
) -> None:
    files = [tmp_path / "sunset.jpg", tmp_path / "night.png"]
    files[0].write_bytes(landscape("JPEG", sky=("#27173b", "#f2a65a"), ground="#1b1126"))
    files[1].write_bytes(landscape("PNG", sky=("#050a1c", "#31456e"), ground="#02040c"))
    signed_in.page.emulate_media(color_scheme=scheme)
    graphiql = GraphiQL.opened(signed_in)
    graphiql.pick(*files)
    graphiql.run()
    expect(graphiql.page.locator(".graphiql-response .view-lines")).to_contain_text("night.png")
    shot = screenshot(graphiql.page, "graphiql-dark" if is_dark else "graphiql")
    assert (ImageStat.Stat(shot.convert("L")).median[0] < 100) == is_dark


def test_without_introspection_it_says_what_to_set(start: Start, context: BrowserContext) -> None:
    with start("silent", settings=DEVELOPER | {"INTROSPECTION": "False"}) as service:
        for watched in watch(context, service):
            graphiql = GraphiQL.opened(watched, "query { __typename }")
            expect(graphiql.page.get_by_text("Start it with INTROSPECTION=True")).to_be_visible()
            assert graphiql.run() == {"data": {"__typename": "Query"}}
