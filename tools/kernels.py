"""Kernels that begin with the imports done: each is a fork of one process that has made them.

A chapter's kernel imports for four seconds before it computes anything, and there is one for each
chapter and each notebook. Within ``with forked():`` this process starts its kernels as forks. What
they run, and what they may change, is theirs alone, as before.

``python -m tools.kernels MODULE ...`` is the process that imports and forks.
"""

import asyncio
import gc
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path
from threading import Lock

from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

ROOT = Path(__file__).resolve().parent.parent
# What takes long. Nothing of this repository: that is what the kernels are there to try.
IMPORTED = (
    "ipykernel.kernelapp",
    "torch",
    "torch._dynamo",  # which the first optimizer imports
    "pandas",
    "matplotlib.pyplot",
    "seaborn",
    "sklearn.datasets",
    "sklearn.model_selection",
)
# Variables that are read while Python starts or while modules are imported.
EARLY = ("PYTHON", "MPL", "OMP_", "MKL_", "OPENBLAS_", "LD_")
LONGEST = 200_000  # bytes of a message: what to run, with its environment


class Origin:
    """A process that has imported ``modules``, and forks."""

    def __init__(self, modules, environ):
        self.connection, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # As ipykernel sets it, before matplotlib is imported.
        environ = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"} | environ
        command = [sys.executable, "-m", "tools.kernels", *modules]
        with other:
            self.process = subprocess.Popen(command, stdin=other, env=environ, cwd=ROOT)

    def fork(self, command, environ, folder) -> int:
        """Start a kernel; return the number of its process."""
        message = json.dumps([command, environ, str(folder)]).encode()
        socket.send_fds(self.connection, [message], [1, 2])
        said = self.connection.recv(LONGEST)
        if not said:
            raise RuntimeError("the process that forks kernels has ended; what it said is above")
        return int(said)

    def close(self):
        self.connection.close()
        self.process.wait()


class Fork:
    """What Jupyter asks of a process, of one that is not our child."""

    stdin = stdout = stderr = None

    def __init__(self, pid):
        self.pid = pid

    def poll(self):
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 1  # how it ended, only its parent knows
        return None

    wait = poll

    def send_signal(self, number):
        os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class Forked(LocalProvisioner):
    """Start a kernel of this very Python as a fork."""

    origins, lock = {}, Lock()

    @classmethod
    def fork(cls, command, environ, folder):
        early = {name: value for name, value in environ.items() if name.startswith(EARLY)}
        key = (IMPORTED, *sorted(early.items()))
        with cls.lock:
            if key not in cls.origins:
                cls.origins[key] = Origin(IMPORTED, environ)
            return cls.origins[key].fork(command, environ, folder)

    async def launch_kernel(self, cmd, *, env=None, cwd=None, **kwargs):
        environ = dict(os.environ if env is None else env)
        folder = Path(cwd or "").absolute()
        pid = await asyncio.to_thread(self.fork, cmd, environ, folder)
        self.process, self.pid, self.pgid = Fork(pid), pid, pid
        return self.connection_info


@contextmanager
def forked():
    """Let this process start its kernels as forks, where forking is safe: on Linux."""
    if sys.platform != "linux":
        yield
        return
    factory, before = KernelProvisionerFactory.instance(), set(Forked.origins)
    usual = factory.default_provisioner_name
    factory.provisioners["forked"] = EntryPoint("forked", f"{__name__}:Forked", factory.GROUP_NAME)
    factory.default_provisioner_name = "forked"
    try:
        yield
    finally:
        factory.default_provisioner_name = usual
        for key in Forked.origins.keys() - before:
            Forked.origins.pop(key).close()


def begin(command, environ, folder, streams):
    """Become the kernel that the ``command`` would have started."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream, place in zip((os.open(os.devnull, os.O_RDONLY), *streams), range(3), strict=True):
        os.dup2(stream, place)
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # as random does by itself
    from ipykernel import kernelapp

    kernelapp.launch_new_instance(argv=command[command.index("ipykernel_launcher") + 1 :])


def bury(*_):
    """Take leave of the kernels that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def serve(modules):
    """Import the modules, then fork a kernel for each message on standard input until it ends."""
    connection = socket.socket(fileno=os.dup(0))
    os.environ["JPY_PARENT_PID"] = str(os.getpid())  # a kernel ends when its parent has gone
    sys.path.remove(os.getcwd())  # where ``-m`` has found this module
    for module in modules:
        import_module(module)
    gc.freeze()  # what is here now is never collected, so it stays shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started us decides what ends
    signal.signal(signal.SIGCHLD, bury)
    while True:
        message, streams, _, _ = socket.recv_fds(connection, LONGEST, 2)
        if not message:
            return
        pid = os.fork()
        if pid == 0:
            connection.close()
            begin(*json.loads(message), streams)
            return
        for stream in streams:
            os.close(stream)
        connection.send(str(pid).encode())


if __name__ == "__main__":
    serve(sys.argv[1:])
