"""Commands as a user types them, each in a process of its own that has the heavy imports behind it."""

import contextlib
import dataclasses
import importlib
import multiprocessing
import os
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).parent.parent

_server = multiprocessing.get_context("forkserver")
# What every command imports; a command's own module is not among them, because two of them define one flag.
_server.set_forkserver_preload(["frown_jax.train"])


@dataclasses.dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def _work(module: str, argv: list[str], out: str, err: str) -> None:
    os.chdir(ROOT)
    os.environ["JAX_PLATFORMS"] = "cpu"
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


def run(module: str, *argv: str, code: int = 0, timeout: float = 300) -> Done:
    """Runs `python -m module argv...` in the project's folder and checks its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = pathlib.Path(folder, "out"), pathlib.Path(folder, "err")
        out.touch()
        err.touch()
        process = _server.Process(target=_work, args=(module, list(map(str, argv)), str(out), str(err)))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            raise TimeoutError(f"{module} {argv}: {err.read_text()[-2000:]}")
        done = Done(process.exitcode, out.read_text(), err.read_text())
        process.close()
    assert done.returncode == code, done.stderr[-2000:]
    return done
