"""Downloads: a signed URL in, the bytes out, as the whole file or as ranges of it, in constant memory.

Only bytes that were decoded as a raster image are shown by the browser; everything else is saved, and
nothing that is served can run as a page of this origin.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO
from uuid import UUID

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.utils import timezone
from django.utils.cache import get_conditional_response, patch_cache_control, patch_vary_headers
from django.utils.http import http_date, quote_etag
from django.views.decorators.csrf import csrf_exempt

from files import byte_ranges, pooling, presentation, renditions, signing, storage
from files.buckets import MAX_LIFETIME
from files.byte_ranges import ByteRange
from files.errors import RETRY_AFTER, InvalidImage, InvalidRendition, StorageUnavailable
from files.models import File, Rendition
from files.outages import DATABASE_ERRORS, is_outage
from files.presentation import Presentation
from files.variations import Variation

logger = logging.getLogger(__name__)

_CHUNK_SIZE = 256 * 1024
_MARGIN = 60  # seconds by which a redirection is forgotten before its address expires

# A document that is opened in spite of all: no scripts, no origin, nothing loaded.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src 'self'; sandbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Served:
    """What a response is made of. `size` in bytes, `modified` in seconds since 1970, `max_age` in seconds."""

    row: File | Rendition
    shown: Presentation
    size: int
    etag: str
    modified: int
    max_age: int


@csrf_exempt  # nothing is changed here, and the check would read the body of whatever is sent
def download(request: HttpRequest, file_id: UUID, name: str) -> HttpResponseBase:
    """GET and HEAD of a signed URL. The name in the path is only what people and programs see of it."""

    def served() -> _Served:
        grant = signing.verify(file_id, request.GET)
        file = File.objects.get(pk=file_id)
        return _Served(
            row=file,
            shown=presentation.of_file(file, download=grant.download),
            size=file.size,
            etag=quote_etag(file.sha256),
            modified=int(file.created_at.timestamp()),  # the bytes of a file never change
            max_age=_seconds_left(grant.expires),
        )

    return _guarded(request, lambda: _respond(request, served()))


@csrf_exempt
def rendition(request: HttpRequest, file_id: UUID, variation: str, name: str) -> HttpResponseBase:
    """GET and HEAD of a rendition's signed URL; the first one makes it."""

    def respond() -> HttpResponseBase:
        wanted, expires = signing.verify_rendition(file_id, variation, request.GET)
        file = File.objects.get(pk=file_id)
        if not file.is_image:
            raise File.DoesNotExist
        wanted = renditions.negotiated(file, wanted, request.headers.get("Accept", ""))
        made = renditions.get_or_make(file, wanted)
        try:
            return _respond(request, _of_rendition(file, wanted, made, expires))
        except FileNotFoundError:  # what was made once can be made again
            renditions.forget(made)
            made = renditions.get_or_make(file, wanted)
            return _respond(request, _of_rendition(file, wanted, made, expires))

    response = _guarded(request, respond)
    patch_vary_headers(response, ["Accept"])
    return response


def _of_rendition(file: File, variation: Variation, made: Rendition, expires: int) -> _Served:
    return _Served(
        row=made,
        shown=presentation.of_rendition(file, variation.format),
        size=made.size or 0,
        etag=quote_etag(f"{file.sha256}-{variation}"),
        modified=int((made.made_at or made.claimed_at).timestamp()),
        max_age=_seconds_left(expires),
    )


def _guarded(request: HttpRequest, respond: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    """The response, or in its place a refusal: nothing that a client sends is an error of ours."""
    if request.method not in {"GET", "HEAD"}:
        message = "Files are read with GET or HEAD."
        return _error(HTTPStatus.METHOD_NOT_ALLOWED, message, {"Allow": "GET, HEAD"})
    try:
        return respond()
    except signing.Refused:
        message = "This address is not valid or has expired; ask for a new one over GraphQL."
        return _error(HTTPStatus.FORBIDDEN, message)
    except (File.DoesNotExist, FileNotFoundError):
        return _error(HTTPStatus.NOT_FOUND, "There is no such file.")
    except (InvalidImage, InvalidRendition) as error:
        return _error(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
    except (StorageUnavailable, *DATABASE_ERRORS) as error:
        if not (isinstance(error, StorageUnavailable) or is_outage(error)):
            raise
        logger.exception("A file could not be served.")
        message = "The file cannot be read just now. Try again later."
        seconds = error.retry_after if isinstance(error, StorageUnavailable) else RETRY_AFTER
        return _error(HTTPStatus.SERVICE_UNAVAILABLE, message, {"Retry-After": str(seconds)})


def _respond(request: HttpRequest, file: _Served) -> HttpResponseBase:
    response = _whole_or_part(request, file)
    if response.status_code not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.NOT_MODIFIED}:
        return response
    response["ETag"] = file.etag
    response["Last-Modified"] = http_date(file.modified)
    if "X-Accel-Redirect" not in response:  # nginx says that itself, and once is enough
        response["Accept-Ranges"] = "bytes"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = _POLICY
    response["Cross-Origin-Resource-Policy"] = "cross-origin"
    response["Content-Disposition"] = file.shown.disposition
    # The URL stands for these bytes until it expires, and for whoever was given it.
    patch_cache_control(response, private=True, max_age=file.max_age, immutable=True)
    return response


def _whole_or_part(request: HttpRequest, file: _Served) -> HttpResponseBase:
    unchanged = get_conditional_response(request, etag=file.etag, last_modified=file.modified)
    if unchanged is not None and unchanged.status_code == HTTPStatus.PRECONDITION_FAILED:
        return _error(HTTPStatus.PRECONDITION_FAILED, "The file is not the one that the condition names.")
    if unchanged is not None:
        return unchanged
    if request.method == "GET":  # who asks for the head alone is answered from the row
        elsewhere = _elsewhere(file)
        if elsewhere is not None:
            return elsewhere
    ranges = None
    if request.method == "GET" and _range_applies(request, file):
        try:
            ranges = byte_ranges.parse(request.headers["Range"], file.size)
        except byte_ranges.Unsatisfiable:
            message = f"The file has {file.size} bytes; no range asked for is within them."
            extent = {"Content-Range": f"bytes */{file.size}"}
            return _error(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, message, extent)
    if request.method == "HEAD":
        head = HttpResponse(content_type=file.shown.content_type)
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


def _elsewhere(file: _Served) -> HttpResponseBase | None:
    """Where somebody else sends the bytes, ranges included: the way there. None where it is up to us."""
    path = storage.internal_path(file.row)
    if path is not None:
        return HttpResponse(content_type=file.shown.content_type, headers={"X-Accel-Redirect": path})
    lifetime = min(max(file.max_age, 1), MAX_LIFETIME)
    address = storage.url(file.row, lifetime=lifetime, shown=file.shown)
    if address is None:
        return None
    response = HttpResponse(status=HTTPStatus.FOUND, headers={"Location": address})
    response["Cross-Origin-Resource-Policy"] = "cross-origin"
    patch_cache_control(response, private=True, max_age=max(0, lifetime - _MARGIN))
    return response


def _range_applies(request: HttpRequest, file: _Served) -> bool:
    """There is a Range, and If-Range, if given, still names these bytes (strong comparison)."""
    condition = request.headers.get("If-Range")
    return "Range" in request.headers and condition in {None, file.etag, http_date(file.modified)}


def _multipart(request: HttpRequest, file: _Served, ranges: list[ByteRange]) -> HttpResponseBase:
    boundary = secrets.token_hex(16)
    heads = [
        byte_ranges.part_head(part, size=file.size, content_type=file.shown.content_type, boundary=boundary)
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
    file: _Served,
    ranges: list[ByteRange],
    *,
    length: int,
    heads: Iterable[bytes] | None = None,
    end: bytes = b"",
) -> StreamingHttpResponse:
    """The ranges one after another, each behind its head. Opened before the first header is sent, so that
    bytes that cannot be had are an error and not half an answer."""
    content = storage.open_object(file.row)
    pooling.release()  # the client takes the bytes in its own time
    chunks = _chunks(content, ranges, list(heads or [b""] * len(ranges)), end)
    # Under ASGI Django would gather an ordinary iterator into a list, the whole file in memory.
    body = _in_threads(chunks) if isinstance(request, ASGIRequest) else chunks
    response = StreamingHttpResponse(body, content_type=file.shown.content_type)
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


def _seconds_left(expires: int) -> int:
    return max(0, expires - int(timezone.now().timestamp()))


def _error(status: HTTPStatus, message: str, headers: dict[str, str] | None = None) -> HttpResponse:
    """Of the shape that GraphQL's errors have, so that clients read one kind of error."""
    body = {"errors": [{"message": message, "extensions": {"code": status.name}}]}
    return JsonResponse(body, status=status, headers={"Cache-Control": "no-store"} | (headers or {}))
