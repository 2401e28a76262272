"""What a process forbids itself for good, by the kernel: files, programs, TCP and signals, by Landlock.

See landlock(7). Does nothing where the kernel has none of it (macOS, Linux before 5.13); on Linux before 6.7
TCP, and before 6.12 signals, stay open.
"""

import ctypes
import os
import struct
import sys
from pathlib import Path

# The same numbers on every architecture but Alpha; Python has no names for them.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_NO_NEW_PRIVILEGES = 38  # of prctl, without which Landlock is for root alone


def forbid_files(*readable: Path) -> None:
    """As far as the kernel has it: no file can be opened any more but to read below the folders `readable`,
    no program run, no TCP connection made, and no signal sent to another process."""
    version = landlock_version()
    if not version:
        return
    on_files = 13 + (version >= 2) + (version >= 3) + (version >= 5)  # how many rights the kernel knows
    on_network = 2 if version >= 4 else 0
    on_processes = 2 if version >= 6 else 0
    rights = struct.pack("=QQQ", *((1 << count) - 1 for count in (on_files, on_network, on_processes)))
    ruleset = _system_call(_CREATE_RULESET, rights, len(rights), 0)
    reading = 1 << 2 | 1 << 3  # files, folders
    for path in readable:
        folder = os.open(path, os.O_PATH)
        _system_call(_ADD_RULE, ruleset, 1, struct.pack("=Qi", reading, folder), 0)
        os.close(folder)
    ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    _system_call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def landlock_version() -> int:
    """Of the kernel's interface; 0 where there is none."""
    try:
        return _system_call(_CREATE_RULESET, None, 0, 1) if sys.platform == "linux" else 0
    except OSError:
        return 0


def _system_call(number: int, *arguments: int | bytes | None) -> int:
    wide = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result: int = ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *wide)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"system call {number}")
    return result
