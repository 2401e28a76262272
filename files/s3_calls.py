"""How long a call to S3 may take, all its attempts together. Botocore itself bounds each attempt and their
number, and never their sum; no call is made or repeated here."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSRequest
from botocore.exceptions import ReadTimeoutError

from files import buckets

# What a store works at in silence: it puts an object together, or looks through many.
_SLOW = {
    "CompleteMultipartUpload",
    "DeleteObjects",
    "ListMultipartUploads",
    "ListObjectsV2",
    "ListParts",
}
_UNTIL = "coffer_until"
_PIECE = 256 * 1024  # bytes; a store is served that takes 85 KB/s on each of its connections

_budget_ends: ContextVar[float | None] = ContextVar("s3_budget_ends", default=None)


class Budget:
    """Seconds for several calls together; what passes between them does not count."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds

    @contextmanager
    def spend(self) -> Iterator[None]:
        """Calls of this thread within end with the budget."""
        began = time.monotonic()
        token = _budget_ends.set(began + self._left)
        try:
            yield
        finally:
            _budget_ends.reset(token)
            self._left -= time.monotonic() - began


def bound(client: Any) -> None:
    """Let the client's calls end in time. An attempt that begins may take as long as the store goes on to
    take or give bytes."""
    client.meta.events.register("request-created.s3", _within_time, unique_id="coffer-within-time")
    client.meta.events.register("before-send.s3", _in_pieces, unique_id="coffer-in-pieces")


class _Pieces:
    """A body that is sent piece by piece, each a copy, so that nothing holds the buffer when all are sent."""

    def __init__(self, content: bytearray) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytearray]:
        for start in range(0, len(self._content), _PIECE):
            yield self._content[start : start + _PIECE]

    def seek(self, position: int) -> None:
        """Nothing: each attempt begins at the start, for which botocore asks."""


def _in_pieces(request: AWSPreparedRequest, **_: Any) -> None:
    """A socket has `connect_timeout` for all that it is given at once, however fast the store takes it."""
    if isinstance(request.body, bytearray):
        request.body = _Pieces(request.body)  # type: ignore[assignment] # urllib3 takes any iterable


def _within_time(request: AWSRequest, operation_name: str, **_: Any) -> None:
    """Before each attempt. Botocore keeps the context from one attempt to the next, and takes `read_timeout`
    from it in place of the client's."""
    is_slow = operation_name in _SLOW
    now = time.monotonic()
    context: dict[str, Any] = request.context
    if _UNTIL not in context:
        until = now + (buckets.SLOW_READ_TIMEOUT if is_slow else buckets.CALL_TIMEOUT)
        context[_UNTIL] = min(until, _budget_ends.get() or until)
    left = context[_UNTIL] - now
    if left <= 0:
        raise ReadTimeoutError(endpoint_url=str(request.url))
    context["read_timeout"] = min(buckets.SLOW_READ_TIMEOUT if is_slow else buckets.READ_TIMEOUT, left)
