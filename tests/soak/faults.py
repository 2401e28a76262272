"""What befalls the connections between the service and the store, chosen by a seed."""

import random
from http import HTTPStatus

from tests.long.fault_proxy import Fault

SHARE = 0.05  # of all connections
# Most faults come alone and are hidden by the next attempt; some as an outage that no attempt outlives.
_OUTAGES = 0.2
_OUTAGE = 15  # connections
_MEAN = 1 - _OUTAGES + _OUTAGES * _OUTAGE  # connections of a fault
_STARTS = 1 / (1 + _MEAN * (1 - SHARE) / SHARE)  # of those that no fault is under way for

_FAULTS = (
    Fault(status=HTTPStatus.SERVICE_UNAVAILABLE, code="SlowDown"),
    Fault(status=HTTPStatus.INTERNAL_SERVER_ERROR, code="InternalError"),
    Fault(refuses=True),
    Fault(request_bytes=10),  # cut while it is sent
    Fault(answer_bytes=20),  # cut while it is answered
    Fault(answer_bytes=0),  # done, and the answer is lost
    Fault(delay=1.0),
)


_NONE = Fault()


class Chance:
    """A fault, or none, for each connection in turn."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"faults {seed}")
        self._left = 0  # of an outage

    def __call__(self) -> Fault:
        if not self._left and self._random.random() < _STARTS:
            self._left = _OUTAGE if self._random.random() < _OUTAGES else 1
        if not self._left:
            return _NONE
        self._left -= 1
        return self._random.choice(_FAULTS)
