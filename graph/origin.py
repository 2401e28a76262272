"""From where a request comes: for limits, and for the audit log of all that the request causes."""

from collections.abc import Callable
from functools import lru_cache

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import get_script_prefix, reverse
from django.utils.decorators import sync_only_middleware

from audit.log import Origin, coming_from
from audit.models import Via
from graph.proxies import client_address


@sync_only_middleware  # as the views are; under ASGI it runs on the request's thread
def origin(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    def middleware(request: HttpRequest) -> HttpResponseBase:
        is_admin = request.path.startswith(_admin(get_script_prefix()))
        via = Via.ADMIN if is_admin else Via.BROWSER
        with coming_from(Origin(via=via, address=client_address(request))):
            return get_response(request)

    return middleware


@lru_cache(8)
def _admin(prefix: str) -> str:
    """Where the admin is while all paths begin with that."""
    return reverse("admin:index")
