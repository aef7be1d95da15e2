"""Commands as a user types them, each in a process of its own that has the heavy imports behind it."""

import contextlib
import dataclasses
import importlib
import multiprocessing
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parent.parent
QUICK = "--xla_backend_optimization_level=0"  # conftest asks for it; commands are compiled as users' are
CACHE = str(pathlib.Path.home() / ".cache" / "frown_jax_tests")  # faces and compiled programs, for all tests

_server = multiprocessing.get_context("forkserver")
# What every command imports; a command's own module is not among them, because two of them define one flag.
_server.set_forkserver_preload(["frown_jax.jobs.job"])


@dataclasses.dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@dataclasses.dataclass(frozen=True)
class Running:
    """A command that was started."""

    process: multiprocessing.Process
    out: pathlib.Path
    err: pathlib.Path

    def wait(self, timeout: float) -> Done:
        """Until it ends.

        Raises:
          TimeoutError: it does not, and is killed.
        """
        self.process.join(timeout)
        if self.process.is_alive():
            self.process.kill()
            raise TimeoutError(self.err.read_text()[-2000:])
        return Done(self.process.exitcode, self.out.read_text(), self.err.read_text())


def _work(module: str, argv: list[str], out: str, err: str) -> None:
    os.chdir(ROOT)
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "").replace(QUICK, "").strip()
    for descriptor, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY), descriptor)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    sys.argv = [module, *argv]
    try:
        importlib.import_module(module).main()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()


@contextlib.contextmanager
def started(module: str, *argv: object) -> Iterator[Running]:
    """`python -m module argv...` in the project's folder; killed if it still runs when the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = pathlib.Path(folder, "out"), pathlib.Path(folder, "err")
        out.touch()
        err.touch()
        process = _server.Process(target=_work, args=(module, list(map(str, argv)), str(out), str(err)))
        process.start()
        try:
            yield Running(process, out, err)
        finally:
            if process.is_alive():
                process.kill()
                process.join()
            process.close()


def run(module: str, *argv: object, code: int = 0, timeout: float = 300) -> Done:
    """Runs `python -m module argv...` and checks its exit status."""
    with started(module, *argv) as command:
        done = command.wait(timeout)
    assert done.returncode == code, done.stderr[-2000:]
    return done
