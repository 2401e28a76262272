"""Places at which tests kill the process, as a loss of power would. Without COFFER_FAILPOINT they do nothing.

Only the environment of the process can set one, at its start, and only beside COFFER_CRASH_TESTS; nothing
that a client sends comes near.
"""

import os
import signal
from typing import Literal

from django.conf import settings

type Failpoint = Literal[
    "upload.begun",  # its draft is there, and nothing in it
    "upload.received",  # all bytes are in the draft, which is no object yet
    "upload.stored",  # the object is there, its row is not
    "upload.inserted",  # the row is written and not committed
    "upload.committed",  # the row is there, and nobody was told
    "rendition.claimed",  # the claim is there, the rendition is not
    "rendition.stored",  # its object is there, and not recorded
    "delete.row_deleted",  # the row is deleted and that is not committed
    "delete.committed",  # no row, and all objects
    "delete.object_deleted",  # the first of the objects is gone
    "move.copied",  # both places have the object, the row names the old one
    "move.switched",  # the same, the row names the new one
]


def reach(name: Failpoint) -> None:
    """End the process at once if this is the point that it was started with."""
    if name == settings.FAILPOINT:
        os.kill(os.getpid(), signal.SIGKILL)
