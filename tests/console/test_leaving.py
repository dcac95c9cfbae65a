"""How the command line ends: with its exit code, all printed, nothing of the end left out but the taking apart."""

from __future__ import annotations

import subprocess
import sys

HEAD = "import atexit, sys, threading, time; from console import main; "


def ended(code: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", HEAD + code], capture_output=True, text=True, timeout=60, check=False)


def test_what_was_printed_is_out_and_the_exit_code_is_told() -> None:
    done = ended("print('out', end=''); print('err', end='', file=sys.stderr); main.leave(3)")
    assert (done.returncode, done.stdout, done.stderr) == (3, "out", "err")


def test_threads_are_waited_for_and_what_was_registered_is_done() -> None:
    waits = "go = threading.Event(); t = threading.Thread(target=lambda: (go.wait(), print('thread'))); t.start(); "
    pool = "from concurrent.futures import ThreadPoolExecutor; ThreadPoolExecutor(1).submit(print, 'pool').result(); "
    done = ended(waits + pool + "atexit.register(print, 'registered'); go.set(); main.leave(0)")
    assert done.returncode == 0
    assert sorted(done.stdout.split()) == ["pool", "registered", "thread"]
    assert done.stdout.split()[-1] == "registered"


def test_a_reader_that_has_gone_is_no_success() -> None:
    done = ended("import os; os.close(1); print('lost'); main.leave(0)")
    assert done.returncode != 0
