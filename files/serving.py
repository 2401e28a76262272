"""Downloads: a signed URL in, the bytes out, as the whole file or as ranges of it, in constant memory.

Only bytes that were decoded as a raster image are shown by the browser; everything else is saved, and
nothing that is served can run as a page of this origin.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Generator, Iterable
from http import HTTPStatus
from typing import IO
from uuid import UUID

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.utils import timezone
from django.utils.cache import get_conditional_response, patch_cache_control
from django.utils.http import content_disposition_header, http_date, quote_etag
from django.views.decorators.csrf import csrf_exempt

from files import byte_ranges, signing, storage
from files.byte_ranges import ByteRange
from files.errors import StorageUnavailable
from files.models import File
from files.outages import DATABASE_ERRORS, is_outage

logger = logging.getLogger(__name__)

_CHUNK_SIZE = 256 * 1024
_RETRY_AFTER = 5  # seconds

# A document that is opened in spite of all: no scripts, no origin, nothing loaded.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src 'self'; sandbox"


@csrf_exempt  # nothing is changed here, and the check would read the body of whatever is sent
def download(request: HttpRequest, file_id: UUID, name: str) -> HttpResponseBase:
    """GET and HEAD of a signed URL. The name in the path is only what people and programs see of it."""
    if request.method not in {"GET", "HEAD"}:
        message = "Files are read with GET or HEAD."
        return _error(HTTPStatus.METHOD_NOT_ALLOWED, message, {"Allow": "GET, HEAD"})
    try:
        grant = signing.verify(file_id, request.GET)
    except signing.Refused:
        return _error(
            HTTPStatus.FORBIDDEN,
            "This address is not valid or has expired; ask for a new one with `file { url }`.",
        )
    try:
        file = File.objects.get(pk=file_id)
        return _respond(request, file, grant)
    except (File.DoesNotExist, FileNotFoundError):
        return _error(HTTPStatus.NOT_FOUND, "There is no such file.")
    except (StorageUnavailable, *DATABASE_ERRORS) as error:
        if not (isinstance(error, StorageUnavailable) or is_outage(error)):
            raise
        logger.exception("A file could not be served.")
        message = "The file cannot be read just now. Try again later."
        return _error(HTTPStatus.SERVICE_UNAVAILABLE, message, {"Retry-After": str(_RETRY_AFTER)})


def _respond(request: HttpRequest, file: File, grant: signing.Grant) -> HttpResponseBase:
    etag = quote_etag(file.sha256)
    modified = int(file.created_at.timestamp())  # the bytes of a file never change
    response = _whole_or_part(request, file, etag, modified)
    response["ETag"] = etag
    response["Last-Modified"] = http_date(modified)
    response["Accept-Ranges"] = "bytes"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = _POLICY
    response["Cross-Origin-Resource-Policy"] = "cross-origin"
    inline = file.is_image and not grant.download
    response["Content-Disposition"] = content_disposition_header(not inline, file.name) or "attachment"
    # The URL stands for these bytes until it expires, and for whoever was given it.
    patch_cache_control(response, private=True, max_age=max(0, _seconds_left(grant)), immutable=True)
    return response


def _whole_or_part(request: HttpRequest, file: File, etag: str, modified: int) -> HttpResponseBase:
    unchanged = get_conditional_response(request, etag=etag, last_modified=modified)
    if unchanged is not None:
        return unchanged
    ranges = None
    if request.method == "GET" and _range_applies(request, etag, modified):
        try:
            ranges = byte_ranges.parse(request.headers["Range"], file.size)
        except byte_ranges.Unsatisfiable:
            refused = _error(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                f"The file has {file.size} bytes; no range asked for is within them.",
            )
            refused["Content-Range"] = f"bytes */{file.size}"
            return refused
    if request.method == "HEAD":
        head = HttpResponse(content_type=_content_type(file))
        head["Content-Length"] = str(file.size)
        return head
    if ranges is None:
        return _stream(request, file, [ByteRange(0, file.size - 1)], length=file.size)
    if len(ranges) == 1:
        (part,) = ranges
        response = _stream(request, file, ranges, length=part.length)
        response["Content-Range"] = f"bytes {part.first}-{part.last}/{file.size}"
        response.status_code = 206
        return response
    return _multipart(request, file, ranges)


def _range_applies(request: HttpRequest, etag: str, modified: int) -> bool:
    """There is a Range, and If-Range, if given, still names these bytes (strong comparison)."""
    condition = request.headers.get("If-Range")
    return "Range" in request.headers and condition in {None, etag, http_date(modified)}


def _multipart(request: HttpRequest, file: File, ranges: list[ByteRange]) -> HttpResponseBase:
    boundary = secrets.token_hex(16)
    heads = [
        byte_ranges.part_head(part, size=file.size, content_type=_content_type(file), boundary=boundary)
        for part in ranges
    ]
    end = byte_ranges.multipart_end(boundary)
    length = sum(len(head) + part.length for head, part in zip(heads, ranges, strict=True)) + len(end)
    response = _stream(request, file, ranges, length=length, heads=heads, end=end)
    response["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
    response.status_code = 206
    return response


def _stream(
    request: HttpRequest,
    file: File,
    ranges: list[ByteRange],
    *,
    length: int,
    heads: Iterable[bytes] | None = None,
    end: bytes = b"",
) -> StreamingHttpResponse:
    """The ranges one after another, each behind its head. Opened before the first header is sent, so that
    bytes that cannot be had are an error and not half an answer."""
    content = storage.open_object(file)
    chunks = _chunks(content, ranges, list(heads or [b""] * len(ranges)), end)
    # Under ASGI Django would gather an ordinary iterator into a list, the whole file in memory.
    body = _in_threads(chunks) if isinstance(request, ASGIRequest) else chunks
    response = StreamingHttpResponse(body, content_type=_content_type(file))
    response._resource_closers.append(content.close)  # type: ignore[attr-defined]
    response["Content-Length"] = str(length)
    return response


def _chunks(content: IO[bytes], ranges: list[ByteRange], heads: list[bytes], end: bytes) -> Generator[bytes]:
    try:
        for head, part in zip(heads, ranges, strict=True):
            if head:
                yield head
            content.seek(part.first)
            left = part.length
            while left:
                chunk = content.read(min(_CHUNK_SIZE, left))
                if not chunk:
                    # Fewer bytes than promised: breaking off is the only way left to say so.
                    raise ConnectionAbortedError("The stored object is shorter than its row says.")
                left -= len(chunk)
                yield chunk
        if end:
            yield end
    finally:  # the response closes it too, but not under each server when a connection breaks
        content.close()


async def _in_threads(chunks: Generator[bytes]) -> AsyncIterator[bytes]:
    """The chunks, each read off the event loop."""
    done = object()
    try:
        while (chunk := await asyncio.to_thread(next, chunks, done)) is not done:
            yield chunk  # type: ignore[misc]
    finally:
        with contextlib.suppress(ValueError):  # a thread is still reading; the response closes the file
            chunks.close()


def _content_type(file: File) -> str:
    # Text has no declared charset: UTF-8 is what it nearly always is, and saying so prevents guessing.
    return (
        f"{file.content_type}; charset=utf-8" if file.content_type.startswith("text/") else file.content_type
    )


def _seconds_left(grant: signing.Grant) -> int:
    return grant.expires - int(timezone.now().timestamp())


def _error(status: HTTPStatus, message: str, headers: dict[str, str] | None = None) -> HttpResponse:
    """Of the shape that GraphQL's errors have, so that clients read one kind of error."""
    body = {"errors": [{"message": message, "extensions": {"code": status.name}}]}
    return JsonResponse(body, status=status, headers=headers)
