"""The body of a request -> operations: JSON or multipart, read once and no further than is allowed."""

import json
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from urllib.parse import unquote

import orjson
from django.conf import settings
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, QueryDict, UnreadablePostError
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from strawberry.http import GraphQLRequestData

from accounts.models import User
from files import services, tracing
from files.models import Visibility
from files.profiles import DEFAULT_PROFILE, Profiles
from files.receive import Begin, Plan, Received, ReceivingHandler
from graph import limits, multipart, plan
from graph.problems import TOO_LARGE, Refused, bad_request_because

JSON = "application/json"
MULTIPART = "multipart/form-data"
_CHUNK_SIZE = 64 * 1024
_MAX_DRAFTS = 4  # of one request: each may hold 24 or 48 MiB until all files have come; others are staged
_TAIL_SIZE = 1024  # bytes in which the closing boundary has to be: 70 at most, and what a client adds


def check_head(request: HttpRequest) -> None:
    """Raises Refused for a body that cannot be of a GraphQL request, before a byte of it is read."""
    charset = (request.content_params or {}).get("charset", "utf-8").lower()
    if request.content_type not in {JSON, MULTIPART} or charset not in {"utf-8", "utf8", "us-ascii"}:
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "UNSUPPORTED_MEDIA_TYPE",
            f"Send {JSON}, or {MULTIPART} for files, in UTF-8.",
            {"Accept": f"{JSON}, {MULTIPART}"},
        )
    length = request.headers.get("Content-Length", "")
    if not length and isinstance(request, WSGIRequest):
        # Under WSGI nothing says where a chunked body ends.
        raise Refused(HTTPStatus.LENGTH_REQUIRED, "LENGTH_REQUIRED", "Send the length of the body.")
    if length.isascii() and length.isdecimal() and int(length[:20]) > _limit(request):
        raise _too_large(request)


def read(request: HttpRequest, uploads: ReceivingHandler, owner: User | None) -> object:
    """What the body says, each file of it in its place; files will be the owner's. Raises Refused."""
    try:
        if request.content_type == MULTIPART:
            return _multipart(request, uploads, owner)
        return decode(_Stream(request).read())
    except (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent):
        raise _too_large(request) from None
    except UnreadablePostError:
        raise bad_request_because("The body of the request broke off.") from None


def decode(text: str | bytes) -> object:
    """JSON by the letter: no NaN, no halves of surrogate pairs, no bottomless nesting. Raises Refused."""
    try:
        return orjson.loads(text)
    except json.JSONDecodeError as error:
        raise bad_request_because(f"This is not JSON: {error}.") from None


def operation(data: object) -> GraphQLRequestData:
    """One operation of a request. Raises Refused where a member has another type than specified."""
    if not isinstance(data, dict):
        raise bad_request_because("A request is a JSON object with a `query`.")
    for member, kinds in _MEMBERS.items():
        if not isinstance(data.get(member), (*kinds, type(None))):
            raise bad_request_because(f"`{member}` has to be {_NAMES[kinds[0]]} or null, if given.")
    if not data.get("query"):
        raise bad_request_because("A request has a `query`: a GraphQL document.")
    if problem := limits.problem_of_text(data["query"]):
        raise Refused(HTTPStatus.BAD_REQUEST, "QUERY_TOO_LARGE", problem)
    return GraphQLRequestData(
        query=data.get("query"),
        variables=data.get("variables"),
        operation_name=data.get("operationName"),
        extensions=data.get("extensions"),
    )


_MEMBERS: dict[str, tuple[type, ...]] = {
    "query": (str,),
    "variables": (dict,),
    "operationName": (str,),
    "extensions": (dict,),
}
_NAMES: dict[type, str] = {str: "a string", dict: "an object"}


def _limit(request: HttpRequest) -> int:
    """In bytes, of the whole body."""
    is_multipart = request.content_type == MULTIPART
    limit: int = settings.MAX_REQUEST_SIZE if is_multipart else settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    return limit


def _too_large(request: HttpRequest) -> Refused:
    return Refused(
        TOO_LARGE,
        "REQUEST_TOO_LARGE",
        f"The request is too large: send at most {_limit(request)} bytes, "
        f"{settings.DATA_UPLOAD_MAX_MEMORY_SIZE} of them JSON, and {settings.MAX_FILES} files.",
    )


class _Stream:
    """The body as it comes in, which ends with RequestDataTooBig at the limit whatever length was claimed."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._left = _limit(request)
        self._tail = b""

    def read(self, num_bytes: int | None = None, /) -> bytes:
        wanted = self._left + 1 if num_bytes is None else min(num_bytes, self._left + 1)
        data: bytes = self._request.read(wanted)
        self._left -= len(data)
        if self._left < 0:
            raise RequestDataTooBig
        self._tail = (self._tail + data[-_TAIL_SIZE:])[-_TAIL_SIZE:]
        return data

    def ended_with(self, mark: bytes) -> bool:
        """Whether the mark was among the last bytes."""
        return mark in self._tail

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.read(_CHUNK_SIZE):
            yield chunk

    # The parser's stream is declared with lines, which a multipart body does not have.

    def readline(self, limit: int | None = None, /) -> bytes:
        raise NotImplementedError

    def readlines(self) -> list[bytes]:
        raise NotImplementedError


# What a name consists of after every other character was percent-encoded.
_ENCODED = re.compile(r"(?:[A-Za-z0-9_.~-]|%[0-9A-Fa-f]{2})+")


class _Parser(MultiPartParser):
    """Django's parser, with the names of files as they came: they are shown, not used as paths."""

    _post: QueryDict  # the fields so far, while it parses
    _boundary: bytes

    def fields(self) -> QueryDict:
        return self._post

    @property
    def closing_boundary(self) -> bytes:
        return b"--" + self._boundary + b"--"

    def sanitize_file_name(self, file_name: str) -> str:
        # Some clients encode names, as RFC 7578, section 2, lets them: aiohttp, and so gql, is one.
        if not _ENCODED.fullmatch(file_name):
            return file_name
        return unquote(file_name, errors="replace")


def _multipart(request: HttpRequest, uploads: ReceivingHandler, owner: User | None) -> object:
    """`operations` of a multipart request, the files in their places."""
    meta = {
        # Django reads both by the letter; but media types are the same in either case, and a chunked body
        # has no length.
        "CONTENT_TYPE": MULTIPART + request.META["CONTENT_TYPE"][len(MULTIPART) :],
        "CONTENT_LENGTH": request.META.get("CONTENT_LENGTH") or "1",
    }
    body = _Stream(request)
    try:
        parser = _Parser(meta, body, [uploads], "utf-8")
        uploads.plan = lambda: _plan(parser.fields(), owner)
        with tracing.span("upload.receive"):
            fields, _ = parser.parse()
    except MultiPartParserError as error:
        raise bad_request_because(f"The multipart body cannot be read: {error}") from None
    if not (uploads.was_cut or body.ended_with(parser.closing_boundary)):
        raise bad_request_because("The multipart body broke off: its closing boundary is missing.")
    operations, file_map = (_only(fields, name) for name in ("operations", "map"))
    return _placed(decode(operations), decode(file_map), _by_name(uploads))


def _only(fields: QueryDict, name: str) -> str:
    values = fields.getlist(name)
    if len(values) != 1:
        raise bad_request_because(f"A multipart request has exactly one field `{name}`.")
    return str(values[0])


def _placed(operations: object, file_map: object, files: Mapping[str, object]) -> multipart.Operations:
    try:
        return multipart.place(operations, file_map, files)
    except multipart.MultipartError as error:
        raise bad_request_because(str(error)) from None


def _plan(fields: QueryDict, owner: User | None) -> Plan:
    """What is known when the first file begins. Raises Refused where it is known to be wrong."""
    known: Profiles = settings.UPLOAD_PROFILES
    largest = max(profile.max_size for profile in known.values())
    if not ("operations" in fields and "map" in fields):
        return Plan({}, largest, None)  # files that come first: past this, no profile lets them in
    file_map = decode(_only(fields, "map"))
    places = plan.slots(file_map if isinstance(file_map, dict) else {})
    operations = _placed(decode(_only(fields, "operations")), file_map, places)
    _check_operations(operations)
    uses = plan.uses(operations, default=DEFAULT_PROFILE)
    if uses is None:
        return Plan({}, largest, frozenset(places))
    sizes = {
        part: max((known[use.profile].max_size for use in each if use.profile in known), default=0)
        for part, each in uses.items()
    }
    return Plan(sizes, 0, frozenset(places), _begins(uses, owner))


def _begins(uses: Mapping[str, list[plan.Use]], owner: User | None) -> dict[str, Begin]:
    """How those files become objects while they come in that one upload takes, and no other."""
    begins: dict[str, Begin] = {}
    for part, (use, *others) in uses.items():
        if owner is None or others or len(begins) == _MAX_DRAFTS:
            continue
        visibility = Visibility.__members__.get(use.visibility or "")
        begin = services.begin(owner=owner, profile=use.profile, visibility=visibility)
        if begin is not None:
            begins[part] = begin
    return begins


def _check_operations(operations: multipart.Operations) -> None:
    """Raises Refused, before files are waited for, where the view would refuse after them."""
    if not isinstance(operations, list):
        operation(operations)
        return
    if len(operations) > settings.MAX_BATCH:
        raise bad_request_because(
            f"operations: {len(operations)} in one request are a batch, which may have {settings.MAX_BATCH}."
        )
    for each in operations:
        operation(each)


def _by_name(uploads: ReceivingHandler) -> dict[str, Received]:
    files: dict[str, Received] = {}
    for name, received in uploads.complete:
        if name in files:
            raise bad_request_because(f"The multipart body has two files called {name!r}.")
        files[name] = received
    return files
