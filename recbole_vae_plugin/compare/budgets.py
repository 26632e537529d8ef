"""What the search of each method has cost: marks in the tables, words of the verdicts, the tuned values."""

from __future__ import annotations

from typing import Any, NamedTuple

from recbole_vae_plugin.compare.results import Results
from recbole_vae_plugin.compare.searches import Record, winner_line
from recbole_vae_plugin.compare.tuning import LENGTH, UNTUNED
from recbole_vae_plugin.integration.config.keys import is_trained_by_gradient
from recbole_vae_plugin.tune.space import UNLIMITED

#: Marks methods without a search, and those whose search had another budget than the experiment's.
NO_SEARCH, OTHER_BUDGET = "†", "‡"


class Budget(NamedTuple):
    """What was spent on tuning a method for a data set; those of a fair comparison are equal.

    Attributes:
        trials: of the search on each split; ``UNLIMITED`` if only time is limited, ``None`` if the space has
            no further configurations. Empty without a search.
        limit: words for the limit of hours that ended a search early; empty if it did not.
        hours: of the experiment, if there is a limit.
        length: the values of :data:`LENGTH` that are given, ``None`` for the model's own; empty for a model
            without epochs.
    """

    trials: tuple[int | None, ...]
    limit: str
    hours: float | None
    length: tuple[int | None, ...]

    @property
    def numbers(self) -> list[int]:
        """The different numbers of trials, as far as they are limited by the budget."""
        return list(dict.fromkeys(each for each in self.trials if each is not None))

    def words(self, other: Budget) -> str:
        """Such as ``10 trials, 60 epochs``, with what else of the length of training the other budget has
        otherwise."""
        tried = [f"{each} trials{self.limit}" for each in self.numbers if each < UNLIMITED]
        if UNLIMITED in self.numbers:
            tried.append(f"{self.hours:g} h of training")
        parts = [" or ".join(tried) or ("every configuration" if self.trials else "not tuned")]
        both = self.length and other.length
        for key, ours, theirs in zip(LENGTH, self.length, other.length or self.length):
            if key == "epochs" and ours:
                parts.append(f"{ours} epochs")
            elif both and ours != theirs:
                parts.append(f"its own {key}" if ours is None else f"{key} {ours}")
        return ", ".join(parts)


def records_of(results: Results, dataset: str, method: str) -> list[Record]:
    """The records of a method's searches on a data set, one per split."""
    found = results.records.items()
    return [record for search, record in found if search[:2] == (dataset, method)]


def budget_of(results: Results, dataset: str, method: str) -> Budget | None:
    """What was spent on tuning a method; ``None`` if there is nothing to tune, or nothing to compare yet."""
    experiment, records = results.definition, records_of(results, dataset, method)
    if experiment.tune is None or not (records or experiment.spaces[method]["source"] == UNTUNED):
        return None
    keys = {**experiment.settings, **experiment.methods[method]}
    has_epochs = bool(records) and is_trained_by_gradient(keys["model"])
    length = tuple(keys.get(key) for key in LENGTH) if has_epochs else ()
    cut = any(each["cut"] for each in records)
    hours = experiment.tune["hours"]
    return Budget(tuple(map(_counted, records)), f", cut at {hours:g} h" if cut else "", hours, length)


def _counted(record: Record) -> int | None:
    """The number of trials of a search as its budget counts them; see :class:`Budget`."""
    if record["whole_space"]:
        return None
    return UNLIMITED if record["budget"]["trials"] >= UNLIMITED else record["trials"]


def are_unequal(one: Budget | None, other: Budget | None) -> bool:
    """Whether two methods were tuned with budgets that differ in more than that a space ran out."""
    if one is None or other is None:
        return False
    same_time = bool(one.limit) and one.limit == other.limit
    return (
        bool(one.trials) != bool(other.trials)
        or (len({*one.numbers, *other.numbers}) > 1 and not same_time)
        or bool(one.limit) != bool(other.limit)
        or bool(one.length and other.length and one.length != other.length)
    )


def unequal_note(results: Results, dataset: str, method: str) -> str:
    """What a verdict adds where a method and the baseline were tuned with unequal budgets; else empty."""
    baseline = results.experiment["baseline"]
    ours, theirs = (budget_of(results, dataset, label) for label in (method, baseline))
    if ours is None or theirs is None or not are_unequal(ours, theirs):
        return ""
    words = f"{method} {ours.words(theirs)}; {baseline} {theirs.words(ours)}"
    return f"; unequal budgets of tuning: {words}"


def mark(results: Results, dataset: str, method: str) -> str:
    """The mark of a method in the table of a data set; empty in an experiment without tuning, and for methods
    that were tuned as it says."""
    experiment = results.definition
    if experiment.tune is None:
        return ""
    if not experiment.is_tuned(method):
        return NO_SEARCH
    goal = experiment.tune["trials"] or UNLIMITED
    spent = map(_counted, records_of(results, dataset, method))
    return OTHER_BUDGET if any(each not in (None, goal) for each in spent) else ""


def marked(results: Results, dataset: str, method: str) -> str:
    """The name of a method with its mark."""
    return f"{method} {mark(results, dataset, method)}".rstrip()


def legend(results: Results, dataset: str) -> str:
    """The sentences on tuning in the caption of a table, with a space in front; empty where nothing is
    tuned."""
    experiment = results.definition
    if experiment.tune is None:
        return ""
    budget = [f"{experiment.tune['trials']} trials"] if experiment.tune["trials"] else []
    budget += [f"at most {experiment.tune['hours']:g} h of training"] if experiment.tune["hours"] else []
    where = "on each split by its validation data"
    if experiment.tune["splits"] == "first":
        where = f"on split {experiment.split_seeds[0]} by its validation data, for all splits"
    marks = {mark(results, dataset, method) for method in experiment.methods}
    text = f" Methods are tuned {where} with {', '.join(budget)}, beginning with their own settings"
    text += f"; {NO_SEARCH} without a search" if NO_SEARCH in marks else ""
    text += f"; {OTHER_BUDGET} with another number of trials" if OTHER_BUDGET in marks else ""
    return text + "."


HEADER = ["method", "split", "trials", "pruned", "failed", "hours", "space", "tuned values"]


def tuned_rows(results: Results, dataset: str) -> list[list[str]]:
    """Rows under :data:`HEADER`: one for each search on a data set, and for each method without one."""
    experiment = results.definition
    rows = []
    for method in experiment.methods if experiment.tune is not None else ():
        for record in records_of(results, dataset, method):
            numbers = [str(record[name]) for name in ("split_seed", "trials", "pruned", "failed")]
            hours = f"{record['search_seconds'] / 3600:.3g}"
            values = winner_line(record) or "no trial has finished"
            rows.append([method, *numbers, hours, record["space"], values])
        if not experiment.is_tuned(method):
            source = experiment.spaces[method]["source"]
            words = "not to be tuned" if source == UNTUNED else source
            rows.append([method, "", "0", "0", "0", "0", "none", words])
    return rows


def statistics_columns(results: Results, dataset: str, method: str) -> dict[str, Any]:
    """What statistics have on the searches of a method; empty where nothing is tuned."""
    experiment = results.definition
    if experiment.tune is None:
        return {}
    records = records_of(results, dataset, method)
    return {
        "trials": sum(each["trials"] for each in records),
        "pruned_trials": sum(each["pruned"] for each in records),
        "search_seconds": sum(each["search_seconds"] for each in records),
        "space": experiment.spaces[method]["source"],
        "tuned_values": "; ".join(f"split {each['split_seed']}: {winner_line(each)}" for each in records),
    }


def failed_searches(results: Results) -> list[str]:
    """One line for each search in which no trial has finished."""
    return [
        f"the search of {search} failed: no trial of {record['trials']} has finished; tune/ has the reasons. "
        "It is not repeated: remove its folder, and with --storage its study, to search again"
        for search, record in results.records.items()
        if record["values"] is None
    ]
