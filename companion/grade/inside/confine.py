"""Limits that a process puts on itself before it runs a student's code, by what the system has.

Each that took hold is named in the list that `enter` returns: nothing is promised silently.
"""

import contextlib
import ctypes
import os
import signal
import sys

NEWNS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
NOSUID, NODEV, BIND, REC, PRIVATE = 2, 4, 4096, 16384, 1 << 18
DEATH_SIGNAL, NO_NEW_PRIVILEGES = 1, 38


def enter(limits: dict) -> list:
    """Confine this process; return the names of what is enforced.

    Parameters
    ----------
    limits : dict
        ``folder``: the one it may write to; ``hide``, ``keep``: folders that must not, and must, be
        seen; ``uid``: an unprivileged user, where root runs this; ``cpu`` (s), ``file`` (bytes),
        ``processes``; ``namespaces``: whether to try them.
    """
    done = []
    _die_with_parent()
    if sys.platform == "linux" and limits["namespaces"]:
        done += _namespaces(limits)
    os.chdir(limits["folder"])
    if os.name == "posix":
        alone = limits["uid"] is not None or "own processes only" in done
        done += _resources(limits, 0 if alone else _threads_of_user())
        if limits["uid"] is not None:
            os.setgroups([])
            os.setgid(limits["uid"])  # by root, these give up all ways back
            os.setuid(limits["uid"])
            done.append("unprivileged user")
        if alone or (sys.platform == "linux" and os.getuid()):
            done.append("processes")
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _die_with_parent()  # the change of user has cleared it
    return done


def _die_with_parent():
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def limit_memory(size: int) -> None:
    """Let this process grow by so many bytes, and no more."""
    if sys.platform != "linux":
        return
    import resource

    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (now + size, now + size))


def _threads_of_user() -> int:
    """Return how many threads our user runs already: a limit counts them all (Linux)."""
    count = 0
    for name in os.listdir("/proc") if sys.platform == "linux" else ():
        with contextlib.suppress(OSError):
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == os.getuid():
                count += len(os.listdir(f"/proc/{name}/task"))
    return count


def _resources(limits, others: int):
    import resource

    processes = limits["processes"] + others

    for name, soft, hard in (
        ("RLIMIT_CPU", limits["cpu"], limits["cpu"] + 1),
        ("RLIMIT_FSIZE", limits["file"], limits["file"]),
        ("RLIMIT_NPROC", processes, processes),
        ("RLIMIT_NOFILE", 256, 256),
        ("RLIMIT_CORE", 0, 0),
    ):
        kind = getattr(resource, name, None)
        with contextlib.suppress(ValueError, OSError):
            if kind is not None:
                resource.setrlimit(kind, (soft, hard))
    memory = ["memory"] if sys.platform == "linux" else []
    return [*memory, "CPU time", "file size"]


# -- Linux namespaces: no network, nobody else's processes, and only some of the files ------------


def _namespaces(limits) -> list:
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    flags = NEWNS | NEWIPC | NEWPID | NEWNET
    if libc.unshare(flags if user == 0 else flags | NEWUSER):
        return []  # a container or a system that does not let us
    if user:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/gid_map", f"{group} {group} 1")
    done = ["no network"]
    if libc.mount(b"none", b"/", None, REC | PRIVATE, None) == 0:
        with contextlib.suppress(OSError):
            _hide(libc, limits)
            done.append("hidden files")
    child = os.fork()  # the first process of the new tree: when it ends, all of it is killed
    if child:
        signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
        for number in range(3, 64):  # the conversation is the child's alone
            with contextlib.suppress(OSError):
                os.close(number)
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 255)
    _die_with_parent()
    if libc.mount(b"proc", b"/proc", b"proc", NOSUID | NODEV, None) == 0:
        done.append("own processes only")
    return [*done, "nothing left running"]


def _write(path, text):
    with open(path, "w") as file:
        file.write(text)


def _hide(libc, limits):
    """Put an empty file system over each folder to hide, and back what must be seen below it."""
    owner = limits["uid"] if limits["uid"] is not None else os.getuid()
    keep = {path: os.open(path, os.O_RDONLY) for path in limits["keep"]}
    for path in sorted(set(limits["hide"]), key=len):
        if not os.path.isdir(path):
            continue
        _mount(libc, b"tmpfs", path, b"tmpfs", NOSUID | NODEV, b"size=64m,mode=1777")
        for inner, number in keep.items():
            if inner.startswith(path.rstrip("/") + "/"):
                os.makedirs(inner, exist_ok=True)
                _mount(libc, f"/proc/self/fd/{number}".encode(), inner, None, BIND | REC, None)
    os.makedirs(limits["folder"], exist_ok=True)
    options = f"size=64m,mode=0700,uid={owner}".encode()
    _mount(libc, b"tmpfs", limits["folder"], b"tmpfs", NOSUID | NODEV, options)
    for number in keep.values():
        os.close(number)


def _mount(libc, source, target, kind, flags, options):
    if libc.mount(source, target.encode(), kind, flags, options):
        raise OSError(ctypes.get_errno(), f"cannot mount {target}")
