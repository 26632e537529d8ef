"""``run_recbole``: train and evaluate one model, RecBole's or ours, from the shell."""

from __future__ import annotations

import argparse
import ast
import os
import shlex
import sys
import textwrap
from collections import ChainMap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_vae_plugin.cli.errors import report
from recbole_vae_plugin.cli.terminal import replace_unprintable_characters
from recbole_vae_plugin.integration.config import checks
from recbole_vae_plugin.integration.config.default_files import documented_keys
from recbole_vae_plugin.integration.config.keys import builtin_models
from recbole_vae_plugin.integration.distributed.launch import DEFAULT_PORT, check_processes, launch
from recbole_vae_plugin.integration.distributed.parallel import check_gpus
from recbole_vae_plugin.integration.training.resuming import checkpoint_to_resume
from recbole_vae_plugin.settings.config_files import find_config, read_config_file
from recbole_vae_plugin.settings.model_registry import MODELS
from recbole_vae_plugin.settings.validation import Refused, refuse

EXAMPLES = """\
examples:
  run_recbole --model=VAESplit --dataset=ml-100k
  run_recbole --model=VAETwin --dataset=ml-100k --loss_type=BCE --denoising=gaussian
  run_recbole --config_files="ml-100k multi-vae-twin" --epochs=50
  run_recbole --model=EASE --dataset=ml-100k
  run_recbole --model=VAESplit --dataset=ml-1m --nproc=2
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 success, 1 failure, 2 refused input, 130 interrupted."""
    replace_unprintable_characters()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    options, rest = parser().parse_known_args(arguments)
    try:
        config_files = [str(find_config(name)) for name in split_names(options.config_files or "")]
        prepare(options, config_files, read_overrides(rest))
    except Exception as problem:
        return report(problem, options.traceback, "run_recbole")
    try:
        launch(options, config_files)
    except KeyboardInterrupt:
        print("\nrun_recbole: interrupted", file=sys.stderr)
        return 130
    except Exception as problem:
        return report(problem, options.traceback, "run_recbole", code=1)
    return 0


def split_names(names: str) -> list[str]:
    """Split names at whitespace; a file name that contains spaces may be quoted, or be the only name."""
    if Path(names).is_file():
        return [names]
    try:
        return shlex.split(names, posix=os.name == "posix")
    except ValueError as problem:
        raise Refused(f"config_files: got {names!r}: {problem}") from problem


def read_overrides(rest: Sequence[str]) -> dict[str, str]:
    """Parse ``--key=value`` and ``--key value`` into a dict of strings.

    Raises:
        ValueError: an argument is neither, or a key has two values.
    """
    overrides: dict[str, str] = {}
    remaining = list(rest)
    while remaining:
        argument = remaining.pop(0)
        key, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or not key:
            raise Refused(f"{argument}: not understood; settings are written --key=value")
        if not equals:
            if not remaining or remaining[0].startswith("--"):
                raise Refused(f"{argument}: has no value; settings are written --key=value")
            value = remaining.pop(0)
        if "=" in value:
            raise Refused(
                f"{key}: got {value!r}; RecBole cannot read values with '=' from the command line, "
                "put it in a config file"
            )
        if overrides.setdefault(key, value) != value:
            raise Refused(f"{key}: given twice, as {overrides[key]!r} and {value!r}")
    return overrides


def literal(value: str) -> Any:
    """The Python literal that a string spells, or else the string itself."""
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value


def prepare(options: argparse.Namespace, config_files: Sequence[str], overrides: dict[str, str]) -> None:
    """Refuse bad input, and set ``sys.argv`` to what RecBole's ``Config`` should read from it."""
    files = {file: read_config_file(file) for file in config_files}
    by_precedence = list(reversed(files.values()))
    for content in by_precedence:
        options.model = options.model or content.get("model")
        options.dataset = options.dataset or content.get("dataset")
    check_processes(options)
    model: str = checks.check_model(options.model)
    if options.dataset is None:
        refuse("dataset", None, "the name of a data set, as in --dataset=ml-100k")
    checks.check_keys(model, overrides, files)
    literals: dict[str, Any] = {key: literal(value) for key, value in overrides.items()}
    checks.check_evaluation(ChainMap(literals, *by_precedence))

    settings = {"model": model, "dataset": options.dataset, **overrides}
    if options.resume is not None:
        folder = ChainMap(overrides, *by_precedence).get("checkpoint_dir", "saved")
        settings["resume"] = str(checkpoint_to_resume(options.resume, model, folder))
    sys.argv = [sys.argv[0], *(f"--{key}={value}" for key, value in settings.items())]
    config = checks.config_of(model, options.dataset, config_file_list=list(config_files))
    checks.check_config(config)
    check_gpus(config, options.nproc)


def parser() -> argparse.ArgumentParser:
    """The options of RecBole's own script, and help that lists models and keys."""
    result = argparse.ArgumentParser(
        prog="run_recbole",
        description="Train and evaluate a model of this package, or one of RecBole's own.",
        epilog=f"{EXAMPLES}\n{describe_models()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    result.add_argument("--model", "-m", help="name of the model (can be set in a config file)")
    result.add_argument("--dataset", "-d", help="name of the data set (can be set in a config file)")
    result.add_argument(
        "--config_files",
        help="config files, separated by spaces: paths, or names listed by `recbole-vae configs`, as in "
        '"ml-100k vae-split"; later files override earlier ones',
    )
    result.add_argument("--nproc", "-n", type=int, default=1, help="processes on this machine (default 1)")
    result.add_argument("--ip", default="localhost", help="address of the first machine (default localhost)")
    result.add_argument(
        "--port",
        help=f"port of the first machine (default {DEFAULT_PORT}, or any free port with one machine)",
    )
    result.add_argument(
        "--world_size", type=int, default=-1, help="processes on all machines (default: nproc)"
    )
    result.add_argument(
        "--group_offset", type=int, default=0, help="rank of this machine's first process (default 0)"
    )
    result.add_argument(
        "--resume",
        metavar="FILE",
        help="resume from this checkpoint, or from the model's newest one: --resume=latest",
    )
    result.add_argument("--traceback", action="store_true", help="show where an error was raised")
    result.add_argument(
        "--KEY=VALUE",
        dest="key",
        action="store",
        metavar="",
        help="set any key of the configuration, as in --epochs=50",
    )
    return result


def describe_models() -> str:
    """The names of all models, and the keys of ours with their defaults."""
    lines = ["models of this package and their keys (default in brackets):"]
    described: dict[tuple, list[str]] = {}
    usable, broken = [], []
    for model in MODELS:
        try:
            entries = documented_keys(model)
        except ImportError as problem:
            # of another package; the other models work without it
            broken.append(f"  {problem}")
            continue
        usable.append(model)
        for entry in entries:
            described.setdefault(entry, []).append(model)
    lines += [f"  {', '.join(usable)}", *broken]
    for (key, default, comment), models in described.items():
        only = "" if len(models) == len(usable) else f" Only {', '.join(models)}."
        lines += textwrap.wrap(
            f"{key} [{default}]  {comment}{only}",
            width=98,
            initial_indent="    ",
            subsequent_indent="        ",
            break_on_hyphens=False,
        )
    lines += ["", "models of RecBole (keys: RecBole's documentation):"]
    lines += textwrap.wrap(", ".join(builtin_models()), width=98, initial_indent="  ", subsequent_indent="  ")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
