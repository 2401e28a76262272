"""How often somebody may ask: counted by the minute, for each user, and for each address without a user.

In Django's cache: with the default one each process counts for itself, with a shared one all count together.
A fixed window lets twice the limit through around its edge, which is enough to keep a service up. A cache
that is down limits nobody: what it protects is needed more than it.
"""

import logging
import time

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from graphql import GraphQLError

from accounts.viewer import Viewer
from graph.proxies import client_address

logger = logging.getLogger(__name__)

WINDOW = 60  # seconds
CODE = "RATE_LIMITED"


class RateLimited(GraphQLError):
    """Asked too often; in `retry_after` seconds it is allowed again."""

    def __init__(self, limit: int) -> None:
        self.retry_after = WINDOW - int(time.time()) % WINDOW
        super().__init__(
            f"You may run {limit} operations a minute; try again in {self.retry_after} seconds.",
            extensions={"code": CODE, "limit": limit, "retryAfter": self.retry_after},
        )


def count(request: HttpRequest, viewer: Viewer, operations: int) -> None:
    """Count so many operations of the viewer's. Raises RateLimited once there are too many."""
    limit = _limit(viewer)
    if limit and _add(_key(request, viewer), operations) > limit:
        raise RateLimited(limit)


def check(request: HttpRequest, viewer: Viewer) -> None:
    """Without counting, for what is known before the operation is. Raises RateLimited."""
    limit = _limit(viewer)
    if limit and _counted(_key(request, viewer)) >= limit:
        raise RateLimited(limit)


def _limit(viewer: Viewer) -> int:
    limit: int = settings.RATE_LIMIT_ADDRESS if viewer.user is None else settings.RATE_LIMIT_USER
    return limit


def _key(request: HttpRequest, viewer: Viewer) -> str:
    who = f"address:{client_address(request)}" if viewer.user is None else f"user:{viewer.user.pk}"
    return f"rate:{who}:{int(time.time()) // WINDOW}"


def _counted(key: str) -> int:
    try:
        return int(cache.get(key, 0))
    except Exception as error:  # whatever a cache raises
        logger.warning("The cache failed, and nobody is limited: %r", error)
        return 0


def _add(key: str, operations: int) -> int:
    try:
        cache.add(key, 0, timeout=2 * WINDOW)
        return int(cache.incr(key, operations))
    except ValueError:  # the cache was emptied in between
        return operations
    except Exception as error:  # whatever a cache raises
        logger.warning("The cache failed, and nobody is limited: %r", error)
        return 0
