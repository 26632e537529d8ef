"""Runs of ``run_recbole`` that are killed at a chosen moment.

Each is a fork of this process, which has imported torch and RecBole once and computes nothing, so that forks
may. A line of input is a request in JSON: the ``folder`` to run in, the command's ``arguments``, a file for
the ``log``, and ``kill_at``, the moment, or null. The line of output is the exit code, negative for a signal.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from pathlib import Path

import recbole.quick_start  # noqa: F401  what a run imports, once for all
import torch
import torch._dynamo  # noqa: F401
from torch.optim.optimizer import register_optimizer_step_post_hook

from recbole_vae_plugin.cli.run_recbole import main
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


def attempt(folder: str, arguments: list[str], log: str, kill_at: int | None) -> int:
    """Run the command in a fork, and return how it ended."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.chdir(folder)
    with open(log, "a") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    Moments(kill_at)
    os._exit(main(arguments))


if __name__ == "__main__":
    for request in sys.stdin:
        print(attempt(**json.loads(request)), flush=True)
