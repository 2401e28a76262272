"""What the service and its workers say to each other: requests, and answers that are not believed.

An answer is JSON and plain bytes, and becomes a value only if it is of the type that the function is
declared to return, or one of the errors of `files.errors`. Never unpickles what a worker sends, which would
run whatever a worker that was taken over wants to have run.
"""

import functools
import socket
import struct
import time
from dataclasses import fields, is_dataclass
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import orjson

from files.errors import LEAVES

_MAX_HEAD = 64 * 1024  # bytes of JSON in an answer
MAX_BYTES = 64 * 1024 * 1024  # of encoded images in an answer
LENGTH = struct.Struct(">I")

VALUE, FAILURE = "value", "failure"  # kinds of answers; the others are the names of errors
_ERRORS = {leaf.__name__: leaf for leaf in LEAVES}


class SandboxError(Exception):
    """The function raised what is no FileError; the message is the worker's traceback."""


def packed(kind: str, value: object) -> bytes:
    """JSON, in which bytes are their number among those that follow it."""
    blobs: list[bytes] = []

    def number(each: object) -> int:
        blobs.append(_typed(each, bytes))
        return len(blobs) - 1

    data = orjson.dumps([kind, value], default=number)
    head = b"[%s,%s]" % (data[1:-1], orjson.dumps([len(blob) for blob in blobs]))
    return b"".join([LENGTH.pack(len(head)), head, *blobs])


def answer(connection: socket.socket, hint: Any, deadline: float) -> object:
    """Raises TimeoutError; OSError, EOFError or ValueError where what comes is not an answer."""
    (length,) = LENGTH.unpack(receive(connection, LENGTH.size, deadline))
    if length > _MAX_HEAD:
        raise ValueError("The head of the answer is too long.")
    kind, value, sizes = _typed(orjson.loads(receive(connection, length, deadline)), list)
    sizes = [_typed(size, int) for size in _typed(sizes, list)]
    if min(sizes, default=0) < 0 or sum(sizes) > MAX_BYTES:
        raise ValueError("The bytes of the answer are too many.")
    blobs = [receive(connection, size, deadline) for size in sizes]
    if kind == VALUE:
        return _revived(value, hint, blobs)
    if kind == FAILURE:
        return SandboxError(_typed(value, str))
    if _typed(kind, str) not in _ERRORS:
        raise ValueError("The answer is of no known kind.")
    return _revived(value, _ERRORS[kind], blobs)


def _revived(value: object, hint: Any, blobs: list[bytes]) -> object:
    """The value from its JSON. Raises ValueError where it is not of the type, TypeError for a type that is
    not known here."""
    if hint in {NoneType, bool, int, float, str}:
        return _typed(value, hint)
    if hint is bytes:
        if (index := _typed(value, int)) not in range(len(blobs)):
            raise ValueError("The answer has no such bytes.")
        return blobs[index]
    if NoneType in get_args(hint):
        (other,) = set(get_args(hint)) - {NoneType}
        return None if value is None else _revived(value, other, blobs)
    if get_origin(hint) is list:
        return [_revived(each, get_args(hint)[0], blobs) for each in _typed(value, list)]
    if not isinstance(hint, type) or not is_dataclass(hint):
        raise TypeError(f"A worker cannot answer with {hint}.")
    given, hints = _typed(value, dict), hints_of(hint)
    if set(given) != {field.name for field in fields(hint)}:
        raise ValueError("The answer has other fields than its type.")
    return hint(**{name: _revived(each, hints[name], blobs) for name, each in given.items()})


def _typed[T](value: object, expected: type[T]) -> T:
    if type(value) is not expected:  # a bool is not taken for an int
        raise ValueError(f"The answer has {type(value).__name__} instead of {expected.__name__}.")
    return value


@functools.cache
def hints_of(annotated: Any) -> dict[str, Any]:
    return get_type_hints(annotated)


def receive(connection: socket.socket, size: int, deadline: float | None = None) -> bytes:
    """So many bytes, before `deadline` of the monotonic clock. Raises TimeoutError and EOFError."""
    data = bytearray(size)
    missing = memoryview(data)
    while missing:
        if deadline is not None:
            if (left := deadline - time.monotonic()) <= 0:
                raise TimeoutError
            connection.settimeout(left)
        count = connection.recv_into(missing)
        if not count:
            raise EOFError
        missing = missing[count:]
    return bytes(data)
