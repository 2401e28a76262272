"""How the C library keeps memory. Nothing here changes what the service does."""

import ctypes
import sys

_MIB = 1024 * 1024
# Of mallopt(3), for which Python has no names.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_ARENAS = 4  # by default eight for each processor, of which every one keeps what was once needed in it


def keep_buffers() -> None:
    """Let the buffers of an upload be used again.

    glibc gives them back to the kernel as soon as they are free, and gets them anew, page by page, for the
    next chunk: that took 30 % of the processor in an upload. Up to 16 MiB may stay free in an arena instead,
    of which those threads have one that upload. Other C libraries have no such switch.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, 16 * _MIB)
        mallopt(_MMAP_THRESHOLD, 2 * _MIB)
        mallopt(_ARENA_MAX, _ARENAS)
