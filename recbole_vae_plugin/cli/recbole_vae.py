"""``recbole-vae``: compare models, tune them, show what was found, and serve what was trained."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from recbole_vae_plugin.cli import configs, doctor
from recbole_vae_plugin.cli.errors import report as report_problem
from recbole_vae_plugin.cli.terminal import discard_stdout, replace_unprintable_characters
from recbole_vae_plugin.settings.validation import Refused

EXAMPLES = """\
examples:
  recbole-vae configs
  recbole-vae configs models/vae-split --copy my-vae.yaml
  recbole-vae compare ml-100k-quick --results results/quick
  recbole-vae tune vae-split --trials 20 --jobs 2
  recbole-vae table results/quick --format latex
  recbole-vae table results/quick --format leaderboard --method VAESplit
  recbole-vae report results/quick
  recbole-vae bundle saved/VAESplit-Jan-01-2026_12-00-00.pth ml-100k.vae
  recbole-vae recommend ml-100k.vae --items 1,50,181 -k 5
  recbole-vae recommend ml-100k.vae --input users.jsonl --output recommendations.jsonl
  recbole-vae export ml-100k.vae ml-100k.onnx
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 done, 1 failed, 2 refused, 130 interrupted."""
    replace_unprintable_characters()
    options = parser().parse_args(arguments)
    try:
        code = options.command(options) or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # as in `recbole-vae configs | head`
        discard_stdout()
        return 0
    except KeyboardInterrupt:
        goes_on = options.command in (compare, tune)
        hint = "; the same command goes on from here" if goes_on else ""
        print(f"\nrecbole-vae: interrupted{hint}", file=sys.stderr)
        return 130
    except Exception as problem:
        return report_problem(problem, options.traceback, "recbole-vae")


def compare(options: argparse.Namespace) -> int:
    """Run what is missing, then write and print the table."""
    from recbole_vae_plugin.compare.experiment import Experiment
    from recbole_vae_plugin.compare.runner import Plan, describe, run
    from recbole_vae_plugin.settings.validation import one_of

    experiment = Experiment.read(options.experiment)
    if options.jobs < 1:
        raise Refused(f"--jobs: got {options.jobs}; allowed: a whole number of at least 1")
    # RecBole's Config reads the command line by itself
    sys.argv = sys.argv[:1]
    experiment.check()
    folder = Path(options.results or Path("results", experiment.name))
    only = [one_of("--only", label, experiment.methods) for label in options.only or ()]
    plan = Plan(experiment, folder, only)
    experiment.check_data(plan.to_run)
    print(describe(plan, options.jobs))
    if options.dry_run:
        return 0
    run(plan, options.jobs)

    from recbole_vae_plugin.compare.results import Results
    from recbole_vae_plugin.compare.tables import Comparison, markdown, write_all

    comparison = Comparison(Results.read(plan.folder))
    write_all(comparison)
    print(f"\n{markdown(comparison)}\nwritten to {plan.folder}")
    return 1 if comparison.failures() else 0


def tune(options: argparse.Namespace) -> int:
    """Search, then run the best configuration and write everything."""
    from recbole_vae_plugin.tune.outcome import write_outcome
    from recbole_vae_plugin.tune.search import search, still_running
    from recbole_vae_plugin.tune.space import Space
    from recbole_vae_plugin.tune.study import SPACE

    space = Space.read(options.space).with_trials(options.trials)
    if options.jobs < 1:
        raise Refused(f"--jobs: got {options.jobs}; allowed: a whole number of at least 1")
    # RecBole's Config reads the command line by itself
    sys.argv = sys.argv[:1]
    space.check()
    folder = Path(options.results or Path("results", space.name))
    if not (folder / SPACE).is_file():
        space.check_data()
    study = search(space, folder, options.jobs, options.storage)
    if still_running(study):
        print("other processes are still searching; the last to end runs the best configuration")
        return 0
    result = write_outcome(space, study, folder)
    if "failed" in result:
        print(
            f"recbole-vae: the best configuration failed on its test run: {result['failed']}", file=sys.stderr
        )
        return 1
    print((folder / "hyperparameters.md").read_text(encoding="utf-8"))
    best = shlex.quote(str(folder / "best.yaml"))
    print(f"written to {folder.resolve()}; run_recbole --config_files={best} runs it again")
    return 0


def table(options: argparse.Namespace) -> None:
    """Print a table, or write a leaderboard's files."""
    from recbole_vae_plugin.compare.results import Results
    from recbole_vae_plugin.compare.tables import FORMATS, Comparison

    results = Results.read(options.results)
    if options.format == "leaderboard":
        from recbole_vae_plugin.compare.leaderboard import publish

        publish(results, options)
        return
    print(FORMATS[options.format](Comparison(results)), end="")


def report(options: argparse.Namespace) -> None:
    """Write the page."""
    from recbole_vae_plugin.compare.report import write_report
    from recbole_vae_plugin.compare.results import Results
    from recbole_vae_plugin.compare.tables import Comparison

    results = Results.read(options.results)
    file = Path(options.output or results.folder / "report.html")
    write_report(Comparison(results), file)
    print(f"written to {file}")


def bundle(options: argparse.Namespace) -> None:
    """Write what serving needs of a checkpoint into one file."""
    from recbole_vae_plugin.conversion import bundle_of
    from recbole_vae_plugin.serving.bundle import write_bundle

    made = bundle_of(options.checkpoint, options.titles, options.data_path)
    write_bundle(made, options.output)
    titles = "with titles" if made.vocabulary.titles else "without titles"
    print(
        f"written to {options.output}: {made.model} of {made.dataset}, {len(made.vocabulary):,} items "
        f"{titles}, {options.output.stat().st_size / 2**20:.1f} MiB"
    )


def recommend(options: argparse.Namespace) -> None:
    """Recommend to one user, or to a file of them."""
    from recbole_vae_plugin.serving.batch import recommend_many
    from recbole_vae_plugin.serving.console import show
    from recbole_vae_plugin.serving.recommender import Recommender
    from recbole_vae_plugin.settings.validation import refuse

    if (options.input is None) != (options.output is None):
        raise Refused("--input and --output: got one of them; allowed: both, or --items")
    if options.output and options.output.suffix != ".jsonl":
        refuse(
            "--output", str(options.output), "a name that ends in .jsonl: JSON is written, an object a line"
        )
    recommender = Recommender.load(options.bundle)
    if options.input is None:
        show(recommender, [item.strip() for item in options.items.split(",")], options.k)
        return
    summary = recommend_many(recommender, options.input, options.output, options.k)
    print(f"written to {options.output}; {summary}")


def export(options: argparse.Namespace) -> None:
    """Write a bundle as ONNX."""
    from recbole_vae_plugin.serving.bundle import read_bundle
    from recbole_vae_plugin.serving.export import export_onnx

    difference = export_onnx(read_bundle(options.bundle), options.output)
    print(
        f"written to {options.output}: histories [users, items] to scores [users, items]; onnxruntime's "
        f"scores differ from torch's by {difference:.1g} at most"
    )


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    result = argparse.ArgumentParser(
        prog="recbole-vae",
        description=__doc__.partition(": ")[2],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("--traceback", action="store_true", help="show where an error was raised")
    commands = result.add_subparsers(required=True, metavar="COMMAND")
    configs.add_parser(commands)
    doctor.add_parser(commands)

    one = commands.add_parser(
        "compare",
        help="run an experiment: methods x data sets x seeds",
        description="Run every method of an experiment on every data set with every seed, through "
        "RecBole. Stopped at any moment, the same command goes on with what is missing; runs that "
        "failed are tried again.",
    )
    one.add_argument("experiment", metavar="EXPERIMENT", help="a path, or the name of a shipped one")
    one.add_argument("--results", metavar="DIR", help="folder for the results (default results/NAME)")
    one.add_argument("--jobs", type=int, default=1, metavar="N", help="runs side by side (default 1)")
    one.add_argument("--only", nargs="+", metavar="LABEL", help="run these methods now, others later")
    one.add_argument("--dry-run", action="store_true", help="say what would run, and stop")
    one.set_defaults(command=compare)

    one = commands.add_parser(
        "tune",
        help="search for a model's best settings",
        description="Try configurations of a space, judged by validation alone; then run the best one and "
        "test it. Stopped at any moment, the same command goes on; started twice at once, in one folder "
        "or with one --storage, both share the trials.",
    )
    one.add_argument("space", metavar="SPACE", help="a path, or the name of a shipped one")
    one.add_argument("--results", metavar="DIR", help="folder for the results (default results/NAME)")
    one.add_argument("--trials", type=int, metavar="N", help="how many configurations to try in all")
    one.add_argument("--jobs", type=int, default=1, metavar="N", help="trials side by side (default 1)")
    one.add_argument(
        "--storage",
        metavar="URL",
        help="database of the study, such as postgresql+psycopg://user:password@host/name",
    )
    one.set_defaults(command=tune)

    one = commands.add_parser("table", help="results as a table", description="Print results as a table.")
    one.add_argument("results", metavar="RESULTS", help="folder that compare wrote")
    one.add_argument(
        "--format",
        default="markdown",
        choices=["markdown", "latex", "csv", "json", "leaderboard"],
        help="leaderboard: a row for RecBole's public boards, and its hyper-parameter page",
    )
    board = one.add_argument_group("for --format leaderboard")
    board.add_argument("--method", help="whose row it is (default: the best)")
    board.add_argument("--contestant", dest="method", help=argparse.SUPPRESS)  # its former name
    board.add_argument("--dataset", help="of which data set (default: the only one)")
    board.add_argument("--board", metavar="FILE.json", help="rank the row among these")
    board.add_argument("--search-space", metavar="FILE", help="the space that was searched, for the page")
    board.add_argument("--output", metavar="DIR", help="where the files go (default RESULTS/leaderboard)")
    for field, what in (
        ("year", "year of the model's publication"),
        ("pub", "where it was published"),
        ("model-link", "address of the paper"),
        ("ref-code", "address of the code"),
        ("contributor", "your name"),
        ("contributor-email", "your address"),
        ("tester", "who ran it"),
    ):
        board.add_argument(f"--{field}", default="", help=what)
    one.set_defaults(command=table)

    one = commands.add_parser(
        "report", help="results as one page of HTML", description="Write results as one self-contained page."
    )
    one.add_argument("results", metavar="RESULTS", help="folder that compare wrote")
    one.add_argument("--output", metavar="FILE.html", help="default RESULTS/report.html")
    one.set_defaults(command=report)

    one = commands.add_parser(
        "bundle",
        help="make a trained model into one file that needs no RecBole",
        description="Read a checkpoint of VAESplit, VAETwin or DAE, and the data set that it was trained on, "
        "and write a bundle: weights, settings, item ids, titles and popularity in one file that holds no "
        "code. Opening a checkpoint may run code: bundle only your own.",
    )
    one.add_argument("checkpoint", metavar="CHECKPOINT.pth", help="what RecBole saved")
    one.add_argument("output", metavar="OUT.vae", type=Path, help="the bundle; an older one is replaced")
    one.add_argument(
        "--titles", metavar="FIELD", help="field of the data set's .item file (default: the title or name)"
    )
    one.add_argument(
        "--data-path",
        metavar="DIR",
        type=Path,
        help="folder that holds the data set's folder now, if it was moved: titles are read there",
    )
    one.set_defaults(command=bundle)

    one = commands.add_parser(
        "recommend",
        help="recommend from a bundle",
        description="Recommend to one user, from the items that he has, or to a file of users. Items of the "
        "history are left out; a user without a known item gets the popular ones.",
        epilog='A line of the input: {"user": "ann", "items": ["1", "50"]}. A line of the output: '
        '{"user": "ann", "items": ["181", ...], "scores": [...], "popular": false}. Bad lines are reported '
        "and skipped.",
    )
    one.add_argument("bundle", metavar="BUNDLE.vae")
    whose = one.add_mutually_exclusive_group(required=True)
    whose.add_argument("--items", metavar="ID,ID,...", help="one user's items, by their original ids")
    whose.add_argument("--input", metavar="USERS.jsonl", type=Path, help="users, one JSON object a line")
    one.add_argument("--output", metavar="FILE.jsonl", type=Path, help="with --input: where the answers go")
    one.add_argument("-k", type=int, default=10, metavar="N", help="items for each user (default 10)")
    one.set_defaults(command=recommend)

    one = commands.add_parser(
        "export",
        help="write a bundle as ONNX",
        description="Write the model of a bundle as ONNX, checked against torch. Input: histories, float32 "
        "[users, items], not 0 where a user has an item, in the order of the bundle's items (metadata "
        "item_ids). Output: scores, float32 [users, items], in which what a user has is not left out.",
    )
    one.add_argument("bundle", metavar="BUNDLE.vae")
    one.add_argument("output", metavar="MODEL.onnx", type=Path)
    one.set_defaults(command=export)
    return result


if __name__ == "__main__":
    sys.exit(main())
