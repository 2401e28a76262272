"""What resolvers know of the request: who asks, and what of it they may use."""

from dataclasses import dataclass, field

import strawberry
from django.http import HttpRequest, HttpResponse

from accounts.models import Scope, User
from accounts.viewer import Viewer
from graph.completion import Plans
from graph.errors import Forbidden, Unauthenticated
from graph.limits import Spent


@dataclass
class Context:
    """`request` and `response` stand where Strawberry's Django integration looks for them; `spent` is what
    the operations of the request came to so far, `plans` those of the document that is run, if it has any."""

    request: HttpRequest
    response: HttpResponse | None
    viewer: Viewer
    spent: Spent = field(default_factory=Spent)
    plans: Plans | None = None


type Info = strawberry.Info[Context, None]


def reader(info: Info) -> User | None:
    """The user on whose behalf files are read, None for the public. Raises Forbidden."""
    viewer = info.context.viewer
    if not viewer.may(Scope.READ):
        raise Forbidden("This API token has no scope `read`.")
    return viewer.user


def writer(info: Info) -> User:
    """The user on whose behalf files are written. Raises Unauthenticated and Forbidden."""
    viewer = info.context.viewer
    if viewer.user is None:
        raise Unauthenticated
    if not viewer.may(Scope.WRITE):
        raise Forbidden("This API token has no scope `write`.")
    return viewer.user
