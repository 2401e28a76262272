"""Who asks, where proxies stand between: what they say of a request is believed from those that are named in
TRUSTED_PROXIES, and from nobody else.

Of the libraries, django-ipware only looks for an address, and guesses; django-xff and x-forwarded-for count
proxies, where ours are named; uvicorn, gunicorn and granian each have rules of their own, and believe them
before Django is asked.
"""

import ipaddress
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any

from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest
from django.utils.decorators import sync_and_async_middleware

SCHEME = "coffer.scheme"  # in META, where no header of a client can get to; SECURE_PROXY_SSL_HEADER names it

type _Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_ELEMENT = re.compile(r'(?:[^,"]|"(?:\\.|[^"\\])*")+')  # of a list, with commas between
_PAIR = re.compile(r'([\w-]+)\s*=\s*("(?:\\.|[^"\\])*"|[^;\s]+)')
_WITH_PORT = re.compile(r"(?P<v4>[0-9.]+):[0-9]+|\[(?P<v6>[^\]]*)\](?::[0-9]+)?")


def client_address(request: HttpRequest) -> str:
    """The address that the request came from, behind all trusted proxies; empty where there is none."""
    return str(request.META.get("REMOTE_ADDR") or "")


@sync_and_async_middleware
def trusted_proxies(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Middleware, before any other: afterwards the request is as if its client had asked here itself."""
    if not settings.TRUSTED_PROXIES:
        raise MiddlewareNotUsed
    if iscoroutinefunction(get_response):

        async def later(request: HttpRequest) -> Any:
            _believe(request)
            answer: Awaitable[Any] = get_response(request)
            return await answer

        return later

    def now(request: HttpRequest) -> Any:
        _believe(request)
        return get_response(request)

    return now


@dataclass(frozen=True, slots=True)
class _Said:
    """What proxies added, each behind what the one before it had said; the last words are the nearest's."""

    addresses: Sequence[str]
    schemes: Sequence[str]
    hosts: Sequence[str]


def _believe(request: HttpRequest) -> None:
    client = _address(client_address(request))
    if client is None or not _is_trusted(client):
        return
    said = _forwarded(request) if settings.PROXY_HEADERS == "forwarded" else _x_forwarded(request)
    believed = 0
    for text in reversed(said.addresses):
        address = _address(text)
        if address is None:  # hidden, or nonsense: what is known is who said it
            break
        client = address
        believed += 1
        if not _is_trusted(address):  # and what stands before this, the client may have made up
            break
    request.META["REMOTE_ADDR"] = str(client)
    scheme, host = _nearest(said.schemes, believed), _nearest(said.hosts, believed)
    if scheme in {"http", "https"}:
        request.META[SCHEME] = scheme
    if host:
        request.META["HTTP_HOST"] = host


def _nearest(words: Sequence[str], believed: int) -> str:
    """The word of the proxy that the client reached, if each added one; else the first that there is."""
    return words[-min(max(believed, 1), len(words))] if words else ""


def _x_forwarded(request: HttpRequest) -> _Said:
    return _Said(*(_words(request, f"X-Forwarded-{each}") for each in ("For", "Proto", "Host")))


def _words(request: HttpRequest, header: str) -> list[str]:
    return [word.strip() for word in request.headers.get(header, "").split(",") if word.strip()]


def _forwarded(request: HttpRequest) -> _Said:
    """RFC 7239."""
    elements = [
        {name.lower(): _unquoted(value) for name, value in _PAIR.findall(element)}
        for element in _ELEMENT.findall(request.headers.get("Forwarded", ""))
    ]
    return _Said(*([each.get(name, "") for each in elements] for name in ("for", "proto", "host")))


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def _address(text: str) -> _Address | None:
    """With or without a port."""
    found = _WITH_PORT.fullmatch(text)
    try:
        address = ipaddress.ip_address((found["v4"] or found["v6"]) if found else text)
    except ValueError:
        return None
    # A socket that listens to both families has the older one's addresses in this form.
    return getattr(address, "ipv4_mapped", None) or address


def _is_trusted(address: _Address) -> bool:
    return any(address in network for network in settings.TRUSTED_PROXIES)
