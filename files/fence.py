"""What a process forbids itself for good, by the kernel: opening files by Landlock, and by seccomp whatever
makes sockets and processes or reaches into other ones.

See landlock(7) and seccomp(2). Each does nothing where the system has none of it: Landlock on macOS and on
Linux before 5.13, seccomp on macOS and on processors whose numbers of system calls are not below. Not by
libseccomp, which would have to be installed beside Python for the few instructions here.
"""

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# The same numbers on every architecture but Alpha; Python has no names for them.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
# Of prctl; without the former, Landlock and seccomp are for root alone.
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2


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
    _process_control(_NO_NEW_PRIVILEGES, 1)
    _system_call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def landlock_version() -> int:
    """Of the kernel's interface; 0 where there is none."""
    try:
        return _system_call(_CREATE_RULESET, None, 0, 1) if sys.platform == "linux" else 0
    except OSError:
        return 0


# --- seccomp ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machine:
    """A processor as the kernel calls it, and its numbers of system calls."""

    audit: int
    clone: int
    to_itself: tuple[int, ...]  # kill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo
    # socket, socketpair, connect, bind; fork and vfork, execve, execveat; ptrace, process_vm_readv and
    # _writev; tkill; shmget, shmat, msgget, semget; keyctl, add_key, request_key; perf_event_open, bpf,
    # userfaultfd; unshare, setns, mount, chroot
    forbidden: tuple[int, ...]


_MACHINES: Mapping[str, _Machine] = {
    "x86_64": _Machine(
        audit=0xC000003E,
        clone=56,
        to_itself=(62, 234, 129, 297),
        forbidden=(
            *(41, 53, 42, 49, 57, 58, 59, 322, 101, 310, 311, 200, 29, 30, 68, 64),
            *(250, 248, 249, 298, 321, 323, 272, 308, 165, 161),
        ),
    ),
    "aarch64": _Machine(
        audit=0xC00000B7,
        clone=220,
        to_itself=(129, 131, 138, 240),
        forbidden=(
            *(198, 199, 203, 200, 221, 281, 117, 270, 271, 130, 194, 196, 186, 190),
            *(219, 217, 218, 241, 280, 282, 97, 268, 40, 51),
        ),
    ),
}
# The same numbers on both. io_uring would make sockets and open files past this filter.
_IO_URING_SETUP, _PIDFD_SEND_SIGNAL, _PIDFD_OPEN, _PIDFD_GETFD = 425, 424, 434, 438
_CLONE3 = 435  # its flags lie in memory, where a filter cannot look; without it, libraries take clone
_CLONE_THREAD = 0x10000
_X32 = 0x40000000  # from here on, a second set of numbers for the same calls of x86_64

_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _AUDIT, _FIRST_ARGUMENT = 0, 4, 16  # where they lie in what a filter is given
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000


def forbid_sockets_and_processes() -> None:
    """No socket can be made, no process started, read, changed or signalled; threads can."""
    machine = _MACHINES.get(platform.machine()) if sys.platform == "linux" else None
    if machine is None:
        return
    program = b"".join(_filter(machine))
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions))
    kept = ctypes.create_string_buffer(header)
    _process_control(_NO_NEW_PRIVILEGES, 1)
    _process_control(_SECCOMP, _FILTER, ctypes.addressof(kept))


def _filter(machine: _Machine) -> Iterator[bytes]:
    """In the order in which it runs; each test skips as many instructions as its last two figures say, if it
    holds and if not."""
    yield _instruction(_LOAD, _AUDIT)
    yield _instruction(_IF_EQUAL, machine.audit, 1, 0)
    yield _refused(errno.EPERM)
    yield _instruction(_LOAD, _NUMBER)
    yield _instruction(_IF_AT_LEAST, _X32, 0, 1)
    yield _refused(errno.EPERM)
    yield _instruction(_IF_EQUAL, _CLONE3, 0, 1)
    yield _refused(errno.ENOSYS)
    for number in (*machine.forbidden, _IO_URING_SETUP, _PIDFD_SEND_SIGNAL, _PIDFD_OPEN, _PIDFD_GETFD):
        yield _instruction(_IF_EQUAL, number, 0, 1)
        yield _refused(errno.EPERM)
    tests = [(machine.clone, _IF_BIT, _CLONE_THREAD)]
    tests += [(number, _IF_EQUAL, os.getpid()) for number in machine.to_itself]
    for number, test, value in tests:
        yield _instruction(_IF_EQUAL, number, 0, 4)
        yield _instruction(_LOAD, _FIRST_ARGUMENT)
        yield _instruction(test, value, 0, 1)
        yield _instruction(_RETURN, _ALLOW)
        yield _refused(errno.EPERM)
    yield _instruction(_RETURN, _ALLOW)


def _refused(number: int) -> bytes:
    return _instruction(_RETURN, _ERROR | number)


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


# --- system calls ----------------------------------------------------------------------------------


def _process_control(option: int, *arguments: int) -> None:
    wide = [*arguments, 0, 0, 0, 0][:4]
    if ctypes.CDLL(None, use_errno=True).prctl(option, *map(ctypes.c_ulong, wide)) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def _system_call(number: int, *arguments: int | bytes | None) -> int:
    wide = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result: int = ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *wide)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"system call {number}")
    return result
