"""Run a command that can write below some folders alone: `python read_only.py FOLDER... -- COMMAND`.

By Landlock, as a container with a read-only root file system has it; so for all that the command starts.
"""

import os
import struct
import sys
from pathlib import Path

from files import fence

# Of landlock(7), what changes something: write_file; remove_dir, remove_file and all make_*; truncate, which
# is known from version 3 on.
_WRITE_FILE, _CHANGES, _TRUNCATE = 1 << 1, sum(1 << bit for bit in range(4, 13)), 1 << 14
_REFER = 1 << 13  # links and renames from one folder to another; without it, there are none
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
# What a container has beside its files.
_DEVICES = ["/dev/null", "/dev/shm"]


def restrict(folders: list[str]) -> None:
    if fence.landlock_version() < 3:
        sys.exit("The kernel has no Landlock of version 3 (Linux 6.2), by which this is tried.")
    rights = _WRITE_FILE | _CHANGES | _TRUNCATE | _REFER
    handled = struct.pack("=Q", rights)
    ruleset = fence._system_call(_CREATE_RULESET, handled, len(handled), 0)
    for path in (*folders, *_DEVICES):
        allowed = rights if Path(path).is_dir() else _WRITE_FILE | _TRUNCATE
        place = os.open(path, os.O_PATH)
        fence._system_call(_ADD_RULE, ruleset, 1, struct.pack("=Qi", allowed, place), 0)
        os.close(place)
    fence._process_control(fence._NO_NEW_PRIVILEGES, 1)
    fence._system_call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


if __name__ == "__main__":
    end = sys.argv.index("--")
    restrict(sys.argv[1:end])
    os.execvp(sys.argv[end + 1], sys.argv[end + 1 :])
