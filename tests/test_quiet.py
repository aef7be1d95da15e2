"""Every error is seen once: what orbax raises again is not printed by its threads, everything else is."""

import subprocess
import sys

_THREADS = """
import threading
from frown_jax.runtime import logs
logs.begin()
for file in ("/venv/orbax/writer.py", "/home/mine.py"):
    code = compile("def fail():\\n  raise ValueError('in " + file + "')", file, "exec")
    space = {}
    exec(code, space)
    thread = threading.Thread(target=space["fail"])
    thread.start()
    thread.join()
"""


def test_only_background_writes_are_silent():
    done = subprocess.run([sys.executable, "-c", _THREADS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "in /home/mine.py" in done.stderr and "orbax" not in done.stderr
