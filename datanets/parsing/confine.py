"""The child locks itself in before it looks at a file that may be hostile.

What holds, in this order, each one recorded by name in the report:

* resource limits: address space, CPU time, file size, open files (always);
* no network: an own network namespace where the kernel lets us (root, or a user namespace);
* an empty root folder and the user `nobody` (only when started as root);
* no new processes: RLIMIT_NPROC 0, which binds because `nobody` has no privilege to pass it;
* a seccomp filter that refuses sockets, new processes, other programs and *any* opening of files:
  the child goes on with the descriptors it already has. It needs no privilege, so it is also the
  fallback for "no network" where namespaces are not permitted.

With neither a network namespace nor seccomp the child refuses to work (`SandboxUnavailableError`).
Sources: prctl(2), seccomp(2), unshare(2), Linux `include/uapi/linux/filter.h`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import signal
import struct
from pathlib import Path

from datanets.parsing.result import Limits

# From sysexits.h: EX_CONFIG and EX_IOERR. Both are for the operator, not for the sender.
EXIT_NO_SANDBOX = 78
EXIT_DISK_FULL = 74

_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 1, 38, 22
_SECCOMP_MODE_FILTER = 2
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_NOBODY = 65534

# System call numbers refused after the lock, by machine. The names are in the same order in both:
# opening files; sockets; new processes and programs; signals and memory of others; the rest.
_REFUSED_CALLS = {
    "x86_64": (0xC000003E, (
        2, 85, 257, 437,
        41, 42, 43, 44, 46, 49, 50, 53, 288, 307,
        56, 57, 58, 59, 322, 435,
        62, 101, 310, 311, 434,
        161, 165, 250, 272, 298, 308, 319, 321, 323, 425,
    )),
    "aarch64": (0xC00000B7, (
        56, 437,
        198, 203, 202, 206, 211, 200, 201, 199, 242, 269,
        220, 221, 281, 435,
        129, 117, 270, 271, 434,
        51, 40, 219, 97, 241, 268, 279, 280, 282, 425,
    )),
}  # fmt: skip


class SandboxUnavailableError(RuntimeError):
    """The machine offers no way to keep the parser off the network; an operator must act."""


def die_with_parent(parent: int) -> None:
    """Linux forgets this wish on a change of user, so it is made before and after."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def limit_resources(limits: Limits) -> None:
    for kind, amount in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_FSIZE, max(limits.output_bytes, limits.unpacked_bytes)),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        amount = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(kind, (amount, amount))
    # If the whole machine runs short of memory, this process goes first.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def leave_network() -> list[str]:
    """Must run before any thread is started. Returns what was reached."""
    if _libc.unshare(_CLONE_NEWNET) == 0:
        return ["network namespace"]
    if _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0:
        return ["network namespace in a user namespace"]
    return []


def lock(parent: int) -> list[str]:
    """The last step, after every import; the working folder must be empty or removed.

    Returns the names of what holds from here on.
    """
    reached = _drop_root()
    die_with_parent(parent)
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    reached.append("no new processes")
    if _refuse_calls():
        reached.append("seccomp")
    return reached


def _drop_root() -> list[str]:
    if os.geteuid() != 0:
        return []
    try:
        os.chroot(".")
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    except OSError:  # a container may hold root without these privileges
        return []
    return ["empty root", "user nobody"]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def _refuse_calls() -> bool:
    """Installs the filter: wrong machine → kill, refused call → EPERM, everything else allowed."""
    if platform.machine() not in _REFUSED_CALLS:
        return False
    audit_machine, numbers = _REFUSED_CALLS[platform.machine()]
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    kill, allow, refuse = 0x80000000, 0x7FFF0000, 0x00050001
    # Each step is (code, jump if true, jump if false, value); struct seccomp_data has the system
    # call number at offset 0 and the machine at offset 4.
    steps = [(load, 0, 0, 4), (equal, 1, 0, audit_machine), (give, 0, 0, kill), (load, 0, 0, 0)]
    # x86_64 also answers to the x32 numbers, from 0x40000000 up: refuse them all.
    steps.append((at_least, len(numbers) + 1, 0, 0x40000000))
    for left, number in zip(range(len(numbers), 0, -1), numbers, strict=True):
        steps.append((equal, left, 0, number))
    steps += [(give, 0, 0, allow), (give, 0, 0, refuse)]
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    buffer = ctypes.create_string_buffer(code)
    program = _Program(len(steps), ctypes.cast(buffer, ctypes.c_void_p).value)
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(
        _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0
    )
