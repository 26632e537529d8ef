"""Commands in forks of one process, which may be killed at a chosen moment.

The process has imported torch and RecBole once and computes nothing, so that its forks may. A line of input
is a request in JSON: the ``folder`` to run in, the ``command``, a file for the ``log``, and ``kill_at``, the
moment, or null. The line of output is the exit code, negative for a signal.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import recbole.quick_start  # noqa: F401  what a run imports, once for all
import torch
import torch._dynamo  # noqa: F401
from torch.optim.optimizer import register_optimizer_step_post_hook

from recbole_vae_plugin.cli import recbole_vae, run_recbole
from recbole_vae_plugin.integration.training import trainer  # noqa: F401


class Moments:
    """Counts the steps of an optimizer and, of each file, when half of it is written, and when the whole is
    about to take its place and has taken it. At one of these moments the process is killed."""

    def __init__(self, kill_at: int | None):
        self.count, self.kill_at = 0, kill_at
        self._save, self._replace = torch.save, Path.replace
        register_optimizer_step_post_hook(lambda *_: self.pass_by())
        torch.save = self.save
        Path.replace = lambda file, target: self.replace(file, target)

    def pass_by(self) -> None:
        self.count += 1
        if self.count == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def save(self, state, file, **options) -> None:
        whole = io.BytesIO()
        self._save(state, whole, **options)
        half = len(whole.getvalue()) // 2
        with open(file, "wb") as stream:
            stream.write(whole.getvalue()[:half])
            stream.flush()
            self.pass_by()
            stream.write(whole.getvalue()[half:])

    def replace(self, file: Path, target: Path) -> Path:
        self.pass_by()
        found = self._replace(file, target)
        self.pass_by()
        return found


COMMANDS = {"run_recbole": run_recbole.main, "recbole-vae": recbole_vae.main}


def attempt(folder: str, command: list[str], log: str, kill_at: int | None) -> int:
    """Run the command in a fork, and return how it ended."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.chdir(folder)
    with open(log, "a") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    Moments(kill_at)
    try:
        code = COMMANDS[command[0]](command[1:])
    except SystemExit as end:  # argparse's, after --help
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    os._exit(int(code or 0))


@contextmanager
def forks(**environment: str) -> Iterator[Callable[..., int]]:
    """A function that runs a command in a fork of one new process and returns how it ended; its output is
    added to ``attempts.log`` in the current folder."""
    pipe = subprocess.PIPE
    # two threads that others keep from running wait for each other at every step
    # -P: the modules of the tests do not hide installed ones
    start = [sys.executable, "-P", __file__]
    alone = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    with subprocess.Popen(start, stdin=pipe, stdout=pipe, text=True, env=alone) as process:

        def run(*command: str, kill_at: int | None = None) -> int:
            request = {"folder": os.getcwd(), "command": command, "log": "attempts.log", "kill_at": kill_at}
            print(json.dumps(request), file=process.stdin, flush=True)
            assert process.stdout is not None
            return int(process.stdout.readline())

        yield run
        assert process.stdin is not None
        process.stdin.close()


if __name__ == "__main__":
    for request in sys.stdin:
        print(attempt(**json.loads(request)), flush=True)
