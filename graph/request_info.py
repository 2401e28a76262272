"""What is known of the request that is being answered, for the log and the figures; it decides nothing."""

import re
import time
import uuid
from contextvars import ContextVar
from dataclasses import dataclass, field

# What proxies and clients make ids of; anything else might be meant for whoever reads the log.
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MAX_NAME = 80  # characters of an operation's name; a document may have a thousand


@dataclass(slots=True)
class RequestInfo:
    """Filled in as more becomes known. `kind` is the type of the operation, or what else was asked for; of
    several operations in one request it is that of the last."""

    id: str
    kind: str = "other"
    operation: str = ""
    user: int | None = None
    begun: float = field(default_factory=time.perf_counter)  # seconds, of a clock of its own

    def runs(self, kind: str, name: str | None) -> None:
        """Note the operation."""
        self.kind = kind
        self.operation = (name or "")[:_MAX_NAME]


# Outside of requests, as in commands and background work, there is none. It follows a request into the
# threads that Django runs it on, as all context variables do; what is noted there is noted for all.
CURRENT: ContextVar[RequestInfo | None] = ContextVar("request_info", default=None)


def id_for(sent: str | None) -> str:
    """The id that came along if it can be trusted to be one, else a new one."""
    return sent if sent and _SANE_ID.fullmatch(sent) else uuid.uuid4().hex


def current_id() -> str:
    """The id of the request, or one for this time alone."""
    info = CURRENT.get()
    return info.id if info else uuid.uuid4().hex
