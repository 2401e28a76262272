"""What the clients of the benchmarks write to a socket themselves. Needs nothing that is installed."""

import json

_QUERY = (
    "mutation ($f: Upload!) { uploadFile(input: {file: $f}) { __typename ... on File { id size sha256 } } }"
)
_BOUNDARY = "coffer-bench-1f7c29d05a"
_PARTS = (
    ('name="operations"', json.dumps({"query": _QUERY, "variables": {"f": None}}) + "\r\n"),
    ('name="map"', '{"0": ["variables.f"]}\r\n'),
    ('name="0"; filename="content.bin"\r\nContent-Type: application/octet-stream', ""),
)

# A multipart body is the head, the bytes of its one file, and the tail.
UPLOAD_TYPE = f"multipart/form-data; boundary={_BOUNDARY}"
UPLOAD_HEAD = "".join(
    f"--{_BOUNDARY}\r\nContent-Disposition: form-data; {name}\r\n\r\n{content}" for name, content in _PARTS
).encode()
UPLOAD_TAIL = f"\r\n--{_BOUNDARY}--\r\n".encode()


def request_head(port: int, token: str, content_type: str, length: int) -> bytes:
    return (
        f"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {length}\r\nApollo-Require-Preflight: 1\r\n"
        "Accept: application/json\r\nConnection: close\r\n\r\n"
    ).encode()
