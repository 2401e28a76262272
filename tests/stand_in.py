"""The stand-in for S3 that all tests use: moto on the loopback, atomic where S3 is."""

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer

_one_at_a_time = threading.RLock()


def _atomically(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def alone(*given: Any, **named: Any) -> Any:
        with _one_at_a_time:
            return method(*given, **named)

    return alone


# S3 lets one writer win where several say `If-None-Match: *` at the same moment. moto looks first and writes
# then, and another thread may write in between.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
for _name in ("put_object", "_key_response_post"):
    setattr(S3Response, _name, _atomically(getattr(S3Response, _name)))


class StandIn(ThreadedMotoServer):
    """A server that believes every signature. All servers of a process keep the same objects."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(ip_address="127.0.0.1", port=port, verbose=False)

    @property
    def url(self) -> str:
        host, port = self.get_host_and_port()
        return f"http://{host}:{port}"
