"""``recbole-vae``: compare and tune models, present the results, and serve trained models."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from recbole_vae_plugin.cli import configs, data, doctor
from recbole_vae_plugin.cli.errors import report as report_problem
from recbole_vae_plugin.cli.terminal import discard_stdout, replace_unprintable_characters
from recbole_vae_plugin.settings.validation import Refused

DESCRIPTION = "Compare and tune models, present the results, and serve trained models."
EXAMPLES = """\
examples:
  recbole-vae configs
  recbole-vae configs models/vae-split --copy my-vae.yaml
  recbole-vae compare ml-100k-quick --results results/quick
  recbole-vae data ratings.csv --min-rating 4
  recbole-vae compare untuned --datasets dataset/ratings/ratings.yaml
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
    """Run the command and return its exit code: 0 success, 1 failure, 2 refused input, 130 interrupted."""
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
        resumable = options.command in (compare, tune)
        hint = "; run the same command again to resume" if resumable else ""
        print(f"\nrecbole-vae: interrupted{hint}", file=sys.stderr)
        return 130
    except Exception as problem:
        return report_problem(problem, options.traceback, "recbole-vae")


def compare(options: argparse.Namespace) -> int:
    """Run the missing runs of an experiment, then write and print the table."""
    from recbole_vae_plugin.compare.changed_data import check_data_unchanged
    from recbole_vae_plugin.compare.experiment import Experiment
    from recbole_vae_plugin.compare.runner import Plan, describe, run
    from recbole_vae_plugin.settings.validation import one_of

    experiment = Experiment.read(options.experiment, options.datasets)
    if options.jobs < 1:
        raise Refused(f"--jobs: got {options.jobs}; allowed: a whole number of at least 1")
    # RecBole's Config reads the command line by itself
    sys.argv = sys.argv[:1]
    experiment.check()
    folder = Path(options.results or Path("results", experiment.name))
    only = [one_of("--only", label, experiment.methods) for label in options.only or ()]
    plan = Plan(experiment, folder, only)
    check_data_unchanged(plan)
    experiment.check_data(plan.to_run)
    print(describe(plan, options.jobs))
    if options.dry_run:
        return 0
    run(plan, options.jobs, options.storage)

    from recbole_vae_plugin.compare.output import markdown, write_all
    from recbole_vae_plugin.compare.results import Results
    from recbole_vae_plugin.compare.tables import Comparison

    comparison = Comparison(Results.read(plan.folder))
    write_all(comparison)
    print(f"\n{markdown(comparison)}\nwritten to {plan.folder}")
    return 1 if comparison.failures() else 0


def tune(options: argparse.Namespace) -> int:
    """Search for the best configuration, then test it and write the results."""
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
        print("other processes are still searching; the last one to finish tests the best configuration")
        return 0
    result = write_outcome(space, study, folder)
    if "failed" in result:
        print(
            f"recbole-vae: the test run of the best configuration failed: {result['failed']}", file=sys.stderr
        )
        return 1
    print((folder / "hyperparameters.md").read_text(encoding="utf-8"))
    best = shlex.quote(str(folder / "best.yaml"))
    print(f"written to {folder.resolve()}; to run it again: run_recbole --config_files={best}")
    return 0


def table(options: argparse.Namespace) -> None:
    """Print a table, or write the files for a leaderboard."""
    from recbole_vae_plugin.compare.output import FORMATS
    from recbole_vae_plugin.compare.results import Results
    from recbole_vae_plugin.compare.tables import Comparison

    results = Results.read(options.results)
    if options.format == "leaderboard":
        from recbole_vae_plugin.compare.leaderboard import publish

        publish(results, options)
        return
    comparison = Comparison(results)
    if options.published:
        from recbole_vae_plugin.compare.published import check_published, read_published

        published = read_published("--published", options.published)
        check_published(published, results.experiment["datasets"], comparison.metrics)
        results.experiment["published"] = published
    print(FORMATS[options.format](comparison), end="")


def report(options: argparse.Namespace) -> None:
    """Write the results as an HTML page."""
    from recbole_vae_plugin.compare.report import write_report
    from recbole_vae_plugin.compare.results import Results
    from recbole_vae_plugin.compare.tables import Comparison

    results = Results.read(options.results)
    file = Path(options.output or results.folder / "report.html")
    write_report(Comparison(results), file)
    print(f"written to {file}")


def bundle(options: argparse.Namespace) -> None:
    """Convert a checkpoint to a bundle."""
    from recbole_vae_plugin.conversion import bundle_of
    from recbole_vae_plugin.serving.bundle import write_bundle

    content = bundle_of(options.checkpoint, options.titles, options.data_path)
    write_bundle(content, options.output)
    titles = "with titles" if content.vocabulary.titles else "without titles"
    print(
        f"written to {options.output}: {content.model} trained on {content.dataset}, "
        f"{len(content.vocabulary):,} items {titles}, {options.output.stat().st_size / 2**20:.1f} MiB"
    )


def recommend(options: argparse.Namespace) -> None:
    """Recommend items to one user, or to the users in a file."""
    from recbole_vae_plugin.serving.batch import recommend_many
    from recbole_vae_plugin.serving.console import show
    from recbole_vae_plugin.serving.recommender import Recommender
    from recbole_vae_plugin.settings.validation import refuse

    if (options.input is None) != (options.output is None):
        raise Refused("--input and --output: got only one of them; allowed: both, or --items")
    if options.output and options.output.suffix != ".jsonl":
        refuse("--output", str(options.output), "a name ending in .jsonl, since the output is JSON Lines")
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
        f"written to {options.output}: input histories [users, items], output scores [users, items]; the "
        f"scores of onnxruntime differ from torch's by at most {difference:.1g}"
    )


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    result = argparse.ArgumentParser(
        prog="recbole-vae",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("--traceback", action="store_true", help="show where an error was raised")
    commands = result.add_subparsers(required=True, metavar="COMMAND")
    configs.add_parser(commands)
    data.add_parser(commands)
    doctor.add_parser(commands)

    one = commands.add_parser(
        "compare",
        help="run an experiment: methods x data sets x seeds",
        description="Run all methods of an experiment on all data sets with all seeds; with `tune` in the "
        "experiment, tune each of them with the same budget first. If interrupted, run "
        "the same command again: it resumes with the missing runs, and repeats those that failed.",
    )
    one.add_argument("experiment", metavar="EXPERIMENT", help="a path, or the name of a shipped experiment")
    one.add_argument(
        "--datasets",
        nargs="+",
        metavar="FILE",
        help="configs of data sets to use instead of the experiment's; their names are appended to its name",
    )
    one.add_argument("--results", metavar="DIR", help="folder for the results (default results/NAME)")
    one.add_argument("--jobs", type=int, default=1, metavar="N", help="runs in parallel (default 1)")
    one.add_argument("--storage", metavar="URL", help="database of the searches, as for tune")
    one.add_argument("--only", nargs="+", metavar="METHOD", help="run only these methods for now")
    one.add_argument("--dry-run", action="store_true", help="check the experiment and list its runs")
    one.set_defaults(command=compare)

    one = commands.add_parser(
        "tune",
        help="search for a model's best hyperparameters",
        description="Evaluate configurations of a search space on the validation set, then test the best. "
        "If interrupted, run the same command again to resume. Several processes with the same "
        "folder or the same --storage share the trials.",
    )
    one.add_argument("space", metavar="SPACE", help="a path, or the name of a shipped search space")
    one.add_argument("--results", metavar="DIR", help="folder for the results (default results/NAME)")
    one.add_argument("--trials", type=int, metavar="N", help="total number of configurations to try")
    one.add_argument("--jobs", type=int, default=1, metavar="N", help="trials in parallel (default 1)")
    one.add_argument(
        "--storage",
        metavar="URL",
        help="database of the study, such as postgresql+psycopg://user:password@host/name",
    )
    one.set_defaults(command=tune)

    one = commands.add_parser(
        "table", help="print results as a table", description="Print results as a table."
    )
    one.add_argument("results", metavar="RESULTS", help="results folder of compare")
    one.add_argument(
        "--format",
        default="markdown",
        choices=["markdown", "latex", "csv", "json", "leaderboard"],
        help="leaderboard: an entry for RecBole's public leaderboards, with its hyperparameters",
    )
    one.add_argument(
        "--published",
        nargs="+",
        metavar="NAME",
        help="published results on the same protocol to show alongside, such as recbole-ml-1m",
    )
    board = one.add_argument_group("for --format leaderboard")
    board.add_argument("--method", help="the method of the entry (default: the best)")
    board.add_argument("--contestant", dest="method", help=argparse.SUPPRESS)  # the former name
    board.add_argument("--dataset", help="the data set of the entry (default: the only one)")
    board.add_argument("--board", metavar="FILE.json", help="leaderboard in which to rank the entry")
    board.add_argument("--search-space", metavar="FILE", help="the search space of the hyperparameters")
    board.add_argument("--output", metavar="DIR", help="output folder (default RESULTS/leaderboard)")
    for field, description in (
        ("year", "year of the model's publication"),
        ("pub", "venue of the publication"),
        ("model-link", "URL of the paper"),
        ("ref-code", "URL of the code"),
        ("contributor", "your name"),
        ("contributor-email", "your email address"),
        ("tester", "name of the tester"),
    ):
        board.add_argument(f"--{field}", default="", help=description)
    one.set_defaults(command=table)

    one = commands.add_parser(
        "report",
        help="write results as an HTML page",
        description="Write results as a self-contained HTML page.",
    )
    one.add_argument("results", metavar="RESULTS", help="results folder of compare")
    one.add_argument("--output", metavar="FILE.html", help="output file (default RESULTS/report.html)")
    one.set_defaults(command=report)

    one = commands.add_parser(
        "bundle",
        help="convert a checkpoint to a bundle, which can be served without RecBole",
        description="Convert a checkpoint of VAESplit, VAETwin or DAE to a bundle: a single file with the "
        "weights, the settings, and the items' ids, titles and popularity. A bundle contains no "
        "code, but loading a checkpoint can run code: convert only checkpoints that you trust.",
    )
    one.add_argument("checkpoint", metavar="CHECKPOINT.pth", help="a checkpoint saved by RecBole")
    one.add_argument("output", metavar="OUT.vae", type=Path, help="the bundle; an existing file is replaced")
    one.add_argument(
        "--titles", metavar="FIELD", help="field of the .item file with the titles (default: title or name)"
    )
    one.add_argument(
        "--data-path",
        metavar="DIR",
        type=Path,
        help="folder that now contains the data set's folder, if it was moved; only titles are read from it",
    )
    one.set_defaults(command=bundle)

    one = commands.add_parser(
        "recommend",
        help="recommend items with a bundle",
        description="Recommend items to one user, given their history, or to the users in a file. Items in "
        "the history are not recommended; users without known items get the most popular ones.",
        epilog='A line of the input: {"user": "ann", "items": ["1", "50"]}. A line of the output: '
        '{"user": "ann", "items": ["181", ...], "scores": [...], "popular": false}. Invalid lines are '
        "reported and skipped.",
    )
    one.add_argument("bundle", metavar="BUNDLE.vae", help="a bundle")
    source = one.add_mutually_exclusive_group(required=True)
    source.add_argument("--items", metavar="ID,ID,...", help="the original ids of one user's items")
    source.add_argument("--input", metavar="USERS.jsonl", type=Path, help="users, one JSON object per line")
    one.add_argument("--output", metavar="FILE.jsonl", type=Path, help="output file for --input")
    one.add_argument("-k", type=int, default=10, metavar="N", help="recommendations per user (default 10)")
    one.set_defaults(command=recommend)

    one = commands.add_parser(
        "export",
        help="export a bundle to ONNX",
        description="Export the model of a bundle to ONNX and compare its scores with torch's. Input: "
        "histories, float32 [users, items], nonzero for the items in a user's history, in the "
        "order of the bundle's items (metadata item_ids). Output: scores, float32 [users, items], "
        "including the items in the history.",
    )
    one.add_argument("bundle", metavar="BUNDLE.vae", help="a bundle")
    one.add_argument("output", metavar="MODEL.onnx", type=Path, help="output file")
    one.set_defaults(command=export)
    return result


if __name__ == "__main__":
    sys.exit(main())
