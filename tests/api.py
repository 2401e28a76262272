"""A GraphQL client for tests: Django's test client, speaking JSON and the multipart request specification.

Beside it, files that are there without an upload: rows alone, or rows and their bytes.
"""

import base64
import hashlib
import io
import json
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image

from accounts.models import User
from files import signing, storage
from files.models import File, FileKind, new_id

FILE_FIELDS = """
    id name title description tags metadata profile kind contentType size md5 sha256 visibility
    owner { username } storage { backend bucket objectKey } url { url expiresAt }
    image { width height format frames thumbhash dominantColor exif { takenAt camera lens } }
    createdAt updatedAt viewerCanChange
"""

UPLOAD_RESULT = f"""
            __typename
            ... on File {{ {FILE_FIELDS} }}
            ... on Error {{ message }}
            ... on FileTooLarge {{ size limit }}
            ... on UnsupportedType {{ detected claimed allowed }}
            ... on InvalidImage {{ reason }}
            ... on ImageTooLarge {{ width height pixels imageLimit: limit }}
            ... on QuotaExceeded {{ size used quota }}
            ... on UnknownProfile {{ profileName: profile known }}
            ... on InvalidInput {{ field reason }}
            ... on StorageUnavailable {{ retryable retryAfter }}
"""
UPLOAD = f"""
    mutation Upload($input: UploadFileInput!) {{ uploadFile(input: $input) {{ {UPLOAD_RESULT} }} }}
"""
UPLOAD_MANY = f"""
    mutation UploadMany($input: UploadFilesInput!) {{ uploadFiles(input: $input) {{ {UPLOAD_RESULT} }} }}
"""


class Api:
    """One client; `token` is its bearer token, None for nobody's."""

    def __init__(self, token: str | None) -> None:
        self.client = Client(headers={"Authorization": f"Bearer {token}"} if token else {})

    def post(self, query: str, **variables: Any) -> Any:
        """The whole response to a JSON request."""
        body = json.dumps({"query": query, "variables": variables})
        return self.client.post("/graphql", body, content_type="application/json")

    def run(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of the answer; errors fail the test."""
        answer = self.post(query, **variables).json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def errors(self, query: str, **variables: Any) -> list[dict[str, Any]]:
        """The errors of the answer; there have to be some."""
        return self.post(query, **variables).json()["errors"]

    def multipart(
        self, query: str, variables: dict[str, Any], files: dict[str, tuple[str, bytes, str]]
    ) -> Any:
        """The whole response to a multipart request; `files` is path -> (name, bytes, content type)."""
        parts: dict[str, Any] = {
            "operations": json.dumps({"query": query, "variables": variables}),
            "map": json.dumps({str(number): [path] for number, path in enumerate(files)}),
        }
        for number, (name, content, content_type) in enumerate(files.values()):
            parts[str(number)] = SimpleUploadedFile(name, content, content_type)
        return self.client.post("/graphql", parts)

    def upload(
        self, content: bytes, name: str = "hello.txt", content_type: str = "text/plain", **input: Any
    ) -> dict[str, Any]:
        """The result of `uploadFile`, whichever member of the union it is."""
        file = {"variables.input.file": (name, content, content_type)}
        answer = self.multipart(UPLOAD, {"input": {"file": None, **input}}, file).json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]["uploadFile"]

    def upload_many(self, files: list[tuple[str, bytes, str]], **input: Any) -> list[dict[str, Any]]:
        """The results of `uploadFiles`; each file is (name, bytes, content type)."""
        places = {f"variables.input.files.{number}": file for number, file in enumerate(files)}
        variables = {"input": {"files": [None] * len(files), **input}}
        answer = self.multipart(UPLOAD_MANY, variables, places).json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]["uploadFiles"]


def picture(
    format_: str = "PNG", size: tuple[int, int] = (40, 20), color: str = "#ff0000", **options: Any
) -> bytes:
    """An image of one colour; `format_` and `options` as Pillow's `save` takes them."""
    target = io.BytesIO()
    Image.new("RGB", size, color).save(target, format_, **options)
    return target.getvalue()


def record(owner: User | None, **fields: Any) -> File:
    """A row as uploads leave them, without bytes; what is not given does not matter to the test."""
    file_id = fields.pop("id", None) or new_id()
    unlike_others = hashlib.sha256(file_id.bytes).hexdigest()
    given: dict[str, Any] = {
        "name": "file.bin",
        "profile": "default",
        "kind": FileKind.OTHER,
        "content_type": "application/octet-stream",
        "size": 1,
        "md5": unlike_others[:32],
        "sha256": unlike_others,
        "storage": storage.ALIAS,
        "key": f"default/2026/01/31/{file_id}.bin",
        **fields,
    }
    return File.objects.create(id=file_id, owner=owner, **given)


def keep(owner: User | None, content: bytes, **fields: Any) -> File:
    """A row and its bytes."""
    file = record(
        owner,
        **{
            "size": len(content),
            "md5": hashlib.md5(content).hexdigest(),
            "sha256": hashlib.sha256(content).hexdigest(),
            **fields,
        },
    )
    storage.save(key=file.key, content=ContentFile(content))
    return file


def address(file: File, *, lifetime: int = 60, download: bool = False) -> str:
    """The signed path of a file's bytes."""
    return signing.path(signing.grant(file, lifetime=lifetime, download=download), name=file.name)


def global_id(kind: str, value: object) -> str:
    """An object's id as clients hold it."""
    return base64.b64encode(f"{kind}:{value}".encode()).decode()
