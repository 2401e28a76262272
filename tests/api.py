"""A GraphQL client for tests: Django's test client, speaking JSON and the multipart request specification."""

import json
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

FILE_FIELDS = """
    id name title description tags metadata profile kind contentType size md5 sha256 visibility
    owner { username } storage { backend bucket objectKey } url { url expiresAt }
    image { width height format frames thumbhash dominantColor } createdAt updatedAt
"""

UPLOAD = f"""
    mutation Upload($input: UploadFileInput!) {{
        uploadFile(input: $input) {{
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
        }}
    }}
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
