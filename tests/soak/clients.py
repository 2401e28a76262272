"""Clients that upload, read, change and delete at once, and write down what they were told. Each has files of
its own, so that what it knows of them is all that there is to know."""

import hashlib
import io
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from PIL import Image

from tests.e2e.server import Form, form
from tests.soak.ledger import Kept, Ledger

CLIENTS = 6
_PATIENCE = 30.0  # seconds; more than the service takes to give up a store
_ATTEMPTS = 6  # at reading what a fault cuts off
_MIB = 1024 * 1024

_FILE = "... on File { id sha256 size title url { url } image { width } }"
_ERROR = "... on Error { message } ... on StorageUnavailable { retryable retryAfter }"
_UPLOAD = (
    f"mutation ($input: UploadFileInput!) {{ uploadFile(input: $input) {{ __typename {_FILE} {_ERROR} }} }}"
)
_UPLOADS = _UPLOAD.replace("UploadFileInput", "UploadFilesInput").replace("uploadFile(", "uploadFiles(")
_UPDATE = (
    f"mutation ($input: UpdateFileInput!) {{ updateFile(input: $input) {{ __typename {_FILE} {_ERROR} }} }}"
)
_DELETE = f"mutation ($ids: [ID!]!) {{ deleteFiles(ids: $ids) {{ __typename {_ERROR} }} }}"
_ONE = "query ($id: ID!) { file(id: $id) { id sha256 size title url { url } } }"
_PAGE = "{ files(first: 50) { edges { node { id name sha256 size tags createdAt url { url } } } } }"
_THUMBNAIL = 'query ($id: ID!) { file(id: $id) { image { rendition(preset: "thumbnail") { url } } } }'


class NoAnswer(Exception):
    """The connection was lost, or the service said to come again: what was asked may have happened."""


class Refused(Exception):
    """The service says that it did nothing, and to come again."""


class Client:
    """One of them, over connections to all services by turns."""

    def __init__(self, number: int, seed: int, urls: list[str], token: str, ledger: Ledger) -> None:
        self._random = random.Random(f"client {number} {seed}")
        self._urls = urls
        self._ledger = ledger
        self._files: list[Kept] = []
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {token}"}, timeout=_PATIENCE, trust_env=False
        )
        # The store answers addresses that bear all it needs; our token is not for it.
        self._store = httpx.Client(timeout=_PATIENCE, trust_env=False, follow_redirects=True)

    def run(self, ended: threading.Event) -> None:
        """One thing after another until then."""
        actions: list[Callable[[], None]] = [
            self._upload_small,
            self._upload_image,
            self._upload_large,
            self._upload_several,
            self._page,
            self._download,
            self._rendition,
            self._change,
            self._delete,
        ]
        weights = [30, 10, 1, 4, 12, 18, 7, 8, 10]
        try:
            while not ended.is_set():
                (action,) = self._random.choices(actions, weights)
                try:
                    action()
                    self._ledger.count(action.__name__.lstrip("_").replace("_", " "))
                except NoAnswer:
                    self._ledger.count("no answer")
                    ended.wait(0.2)
                except Refused:
                    self._ledger.count("told to try again")
                except Exception as error:  # it is what is to be found, and the others go on
                    self._ledger.complain(f"{action.__name__}: {error!r}")
        finally:
            self._http.close()
            self._store.close()

    # --- what they do

    def _upload_small(self) -> None:
        content = self._random.randbytes(self._random.randint(1, 100_000))
        self._upload(content, "default")

    def _upload_image(self) -> None:
        self._upload(self._picture(), "image")

    def _upload_large(self) -> None:
        self._upload(self._random.randbytes(self._random.randint(9 * _MIB, 20 * _MIB)), "default")

    def _upload(self, content: bytes, profile: str) -> None:
        places = {"variables.input.file": ("soak.bin", content)}
        self._send(_UPLOAD, {"file": None, "profile": profile}, places)

    def _upload_several(self) -> None:
        contents = [self._random.randbytes(self._random.randint(1, 50_000)) for _ in range(4)]
        places = {
            f"variables.input.files.{number}": ("soak.bin", each) for number, each in enumerate(contents)
        }
        self._send(_UPLOADS, {"files": [None] * len(contents)}, places)

    def _page(self) -> None:
        edges = self._ask(_PAGE)["files"]["edges"]
        if not all(edge["node"]["sha256"] in self._ledger.sent for edge in edges):
            self._ledger.complain("a page has a file that nobody sent")

    def _download(self) -> None:
        file = self._any()
        if file is not None:
            self.read(file)

    def _rendition(self) -> None:
        file = self._any(is_image=True)
        if file is not None:
            self.read_thumbnail(file)

    def _change(self) -> None:
        file = self._any()
        if file is None:
            return
        title = f"Title {self._random.randrange(1_000_000)}"
        before = set(file.titles)
        file.titles.add(title)
        try:
            (result,) = self._results(_UPDATE, {"input": {"id": file.id, "title": title}})
        except Refused:
            file.titles = before
            raise
        if result["__typename"] == "File":
            file.titles = {title}
        else:
            self._ledger.complain(f"a change was answered {result}")

    def _delete(self) -> None:
        file = self._any()
        if file is None:
            return
        self._files.remove(file)
        file.is_in_doubt = True
        try:
            (result,) = self._results(_DELETE, {"ids": [file.id]})
        except Refused:
            file.is_in_doubt = False
            self._files.append(file)
            raise
        if result["__typename"] == "DeletedFile":
            self._ledger.delete(file)
        else:
            self._ledger.complain(f"a deletion was answered {result}")

    # --- what has to hold of one file

    def read(self, file: Kept) -> None:
        """The file is there as it was acknowledged, and its bytes are those that were sent."""
        found = self._ask(_ONE, {"id": file.id})["file"]
        if found is None:
            self._ledger.complain(f"{file.id} was acknowledged and is not there")
        elif (found["sha256"], found["size"]) != (file.sha256, file.size) or found[
            "title"
        ] not in file.titles:
            self._ledger.complain(f"{file.id} is another one than was acknowledged: {found}")
        elif hashlib.sha256(self._fetch(found["url"]["url"])).hexdigest() != file.sha256:
            self._ledger.complain(f"{file.id} has other bytes than were sent")

    def read_thumbnail(self, file: Kept) -> None:
        found = self._ask(_THUMBNAIL, {"id": file.id})["file"]
        if found is None:
            self._ledger.complain(f"{file.id} was acknowledged and is not there")
            return
        with Image.open(io.BytesIO(self._fetch(found["image"]["rendition"]["url"]))) as picture:
            picture.load()

    def is_there(self, file: Kept) -> bool:
        return self._ask(_ONE, {"id": file.id})["file"] is not None

    def close(self) -> None:
        self._http.close()
        self._store.close()

    # --- asking

    def _any(self, *, is_image: bool = False) -> Kept | None:
        files = [file for file in self._files if file.is_image] if is_image else self._files
        return self._random.choice(files) if files else None

    def _picture(self) -> bytes:
        size = (self._random.randint(200, 1600), self._random.randint(200, 1200))
        picture = Image.frombytes("RGB", (16, 12), self._random.randbytes(16 * 12 * 3)).resize(size)
        target = io.BytesIO()
        picture.save(target, self._random.choice(["JPEG", "PNG"]))
        return target.getvalue()

    def _send(self, query: str, given: dict[str, Any], places: Mapping[str, tuple[str, bytes]]) -> None:
        """Upload, and write down what becomes of each file."""
        hashes = [hashlib.sha256(content).hexdigest() for _, content in places.values()]
        for sha256 in hashes:
            self._ledger.send(sha256)
        results = self._results(query, {"input": given}, form(query, {"input": given}, places))
        refused = 0
        for sha256, result in zip(hashes, results, strict=True):
            if result["__typename"] == "File":
                self._keep(sha256, result)
            else:
                self._ledger.refuse(sha256)
                refused += 1
        if refused:
            raise Refused

    def _keep(self, sha256: str, result: dict[str, Any]) -> None:
        if result["sha256"] != sha256:
            self._ledger.complain(
                f"{result['id']} was acknowledged with another hash than that of what was sent"
            )
        is_image = result["image"] is not None
        file = Kept(result["id"], sha256, result["size"], result["url"]["url"], is_image)
        self._ledger.keep(file)
        self._files.append(file)

    def _results(
        self, query: str, variables: dict[str, Any], sent: Form | None = None
    ) -> list[dict[str, Any]]:
        """Of one mutation. Raises Refused if all that it says is to try again."""
        (answer,) = self._ask(query, variables, sent).values()
        results: list[dict[str, Any]] = answer if isinstance(answer, list) else [answer]
        for result in results:
            if result["__typename"] == "StorageUnavailable" and not result["retryable"]:
                self._ledger.complain(f"the store is called broken for good: {result}")
            elif result["__typename"] not in {"File", "DeletedFile", "StorageUnavailable"}:
                self._ledger.complain(f"a fault is answered {result}")
        if len(results) == 1 and sent is None and results[0]["__typename"] == "StorageUnavailable":
            raise Refused
        return results

    def _ask(
        self, query: str, variables: dict[str, Any] | None = None, sent: Form | None = None
    ) -> dict[str, Any]:
        url = f"{self._random.choice(self._urls)}/graphql"
        try:
            if sent is None:
                answer = self._http.post(url, json={"query": query, "variables": variables or {}})
            else:
                headers = {"Content-Type": sent.content_type}
                answer = self._http.post(url, content=sent.body, headers=headers)
        except httpx.TransportError as error:
            raise NoAnswer from error
        if answer.status_code == 503 and "retry-after" in answer.headers:
            raise NoAnswer
        if answer.status_code != 200 or "errors" in answer.json():
            raise AssertionError(f"{answer.status_code}: {answer.text[:500]}")
        data: dict[str, Any] = answer.json()["data"]
        return data

    def _fetch(self, url: str) -> bytes:
        """The bytes at an address of the store or of ours, which may fail some times, but only as it may."""
        for _ in range(_ATTEMPTS):
            try:
                answer = self._store.get(url)
            except httpx.TransportError:
                continue
            if answer.status_code == 200:
                return answer.content
            is_ours = any(str(answer.url).startswith(each) for each in self._urls)
            if is_ours and not (answer.status_code == 503 and "retry-after" in answer.headers):
                raise AssertionError(f"{answer.status_code} of {answer.url}: {answer.text[:500]}")
            if answer.status_code < 500:
                raise AssertionError(f"the store says {answer.status_code}: {answer.text[:500]}")
            time.sleep(0.5)
        raise NoAnswer
