"""GraphiQL as its readers have it before them: editors, tabs, the Files pane."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Locator, Page

from tests.browser.conftest import Watched
from tests.e2e.server import wait_for

# What an editor holds: on the page stand only the lines that are in sight.
_EDITOR = "(name) => __MONACO.editor.getModels().find((each) => each.uri.path.endsWith(name))"


@dataclass(frozen=True)
class GraphiQL:
    page: Page

    @classmethod
    def opened(cls, watched: Watched, query: str = "", variables: dict[str, Any] | None = None) -> "GraphiQL":
        link = urlencode({"query": query, "variables": json.dumps(variables or {})})
        graphiql = cls(watched.open(f"/graphql#{link}" if query else "/graphql"))
        graphiql.page.locator(".graphiql-query-editor .view-line").first.wait_for()
        return graphiql

    @property
    def files(self) -> Locator:
        return self.page.get_by_role("region", name="Files", exact=True)

    def pick(self, *files: Path) -> None:
        self.files.get_by_label("Pick files").set_input_files(files)

    def paths(self) -> list[str]:
        """Where in the variables each picked file goes."""
        fields = self.files.get_by_role("combobox").all()
        return [field.input_value() for field in fields]

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name).click()

    def run(self) -> dict[str, Any]:
        """The answer that comes to stand in the response pane."""
        self.start()
        return self.answer()

    def start(self) -> None:
        self.page.get_by_role("button", name="Execute query").click()

    def answer(self) -> dict[str, Any]:
        wait_for("an answer", lambda: bool(self._read("response.json")))
        answer: dict[str, Any] = json.loads(self._read("response.json"))
        return answer

    def _read(self, editor: str) -> str:
        # Not by wait_for_function: that is eval to the page's policy.
        return str(self.page.evaluate(f"(name) => ({_EDITOR})(name)?.getValue() ?? ''", editor))

    def write(self, editor: str, text: str) -> None:
        """Replace what stands in an editor, such as `operation.graphql`."""
        self.page.evaluate(f"([name, text]) => ({_EDITOR})(name).setValue(text)", [editor, text])
