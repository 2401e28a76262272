"""`manage.py check --tag storage`: whether each storage can be written, read, signed for and deleted from.

The check talks to stores and leaves nothing there. It never runs unless it is asked for by its name.
"""

import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, Storage, storages

from files.faults import Fault
from files.storage import Explaining, Signing, scratch_key

TAG = "storage"

_CONTENT = b"Written by `manage.py check --tag storage`, and to be deleted by it."
_LIFETIME = 60  # seconds, of the address that is tried
_TIMEOUT = 10  # seconds for which a store may be silent
_SAID = re.compile(r"<(?:Code|Message)>([^<]+)</")
_MAX_ANSWER = 64 * 1024  # bytes that are read of what an address gives

_is_asked: ContextVar[bool] = ContextVar("storage_check_is_asked", default=False)


class _Refused(Exception):
    """An address does not give what it should; the message says what it gives."""


@contextmanager
def asked() -> Iterator[None]:
    """Let the check run within; Django itself does not tell it whether its tag was named."""
    token = _is_asked.set(True)
    try:
        yield
    finally:
        _is_asked.reset(token)


@register(TAG)
def check_storages(**_: Any) -> list[CheckMessage]:
    """What is wrong with each storage, a sentence each."""
    if not _is_asked.get():
        return []
    return [message for alias in settings.STORAGES for message in _check(alias)]


def _check(alias: str) -> Iterator[CheckMessage]:
    try:
        storage = storages[alias]
    except Exception as error:  # whatever the class does when it is made
        yield Error(f"The storage {alias} cannot be used: {_detail(error)}.", id="files.E001")
        return
    if alias == "staticfiles" and isinstance(storage, FileSystemStorage):
        return  # filled by collectstatic, or not at all
    key = scratch_key()
    steps: dict[str, Callable[[], None]] = {
        "be written to": lambda: _write(storage, key),
        "be read from": lambda: _read(storage, key),
        "be fetched from by a signed address": lambda: _fetch_signed(storage, key),
        "keep objects private": lambda: _fetch_unsigned(storage, key),
        "delete objects": lambda: storage.delete(key),
    }
    for verb, step in steps.items():
        try:
            step()
        except Exception as error:  # whatever a storage raises
            yield Error(f"The storage {alias} cannot {verb}: {_reason(storage, error)}.", id="files.E001")
            if step is steps["be written to"]:
                return


# --- steps -----------------------------------------------------------------------------------------


def _write(storage: Storage, key: str) -> None:
    kept = storage.save(key, ContentFile(_CONTENT))
    if kept != key:
        storage.delete(kept)
        raise _Refused("it keeps objects under other names than it is told")


def _read(storage: Storage, key: str) -> None:
    with storage.open(key, "rb") as file:
        if file.read() != _CONTENT:
            raise _Refused("it gives other bytes than were written")


def _fetch_signed(storage: Storage, key: str) -> None:
    address = _address(storage, key)
    if address is not None and _get(address) != _CONTENT:
        raise _Refused(f"{_origin(address)} gives other bytes than were written")


def _fetch_unsigned(storage: Storage, key: str) -> None:
    """The address without its signature has to be refused, unless the storage gives out such addresses."""
    address = _address(storage, key)
    if address is None or "?" not in address:
        return
    try:
        content = _get(address.partition("?")[0])
    except (_Refused, OSError):
        return
    if content == _CONTENT:
        raise _Refused(f"{_origin(address)} gives them to everybody, without a signature")


def _address(storage: Storage, key: str) -> str | None:
    if not isinstance(storage, Signing):
        return None
    content_type = "application/octet-stream"
    return storage.signed_url(key, lifetime=_LIFETIME, disposition="attachment", content_type=content_type)


def _get(address: str) -> bytes:
    """Raises _Refused with the store's own word for why, and OSError."""
    try:
        # The address was made by our own storage.
        with urllib.request.urlopen(address, timeout=_TIMEOUT) as answer:  # noqa: S310  # nosec B310
            content: bytes = answer.read(_MAX_ANSWER)
            return content
    except urllib.error.HTTPError as error:
        with error:
            said = _SAID.findall(error.read(_MAX_ANSWER).decode("utf-8", "replace"))
        reason = ": ".join(said) or str(error.reason)
        raise _Refused(f"{_origin(address)} refuses it with {error.code} {_line(reason)}") from None


# --- words -----------------------------------------------------------------------------------------


def _reason(storage: Storage, error: Exception) -> str:
    if isinstance(error, _Refused):
        return str(error)
    if isinstance(error, urllib.error.URLError):
        return f"{Fault.UNREACHABLE.value} ({error.reason})"
    fault = storage.fault(error) if isinstance(storage, Explaining) else None
    return f"{fault.value} ({_detail(error)})" if fault else _detail(error)


def _detail(error: Exception) -> str:
    """What the library says, without the end of a sentence."""
    return _line(f"{type(error).__name__}: {error}")


def _line(text: str) -> str:
    return " ".join(text.split())[:300].rstrip(".: ")


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"
