"""The report page, in a real browser where there is one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recbole_vae_plugin.compare import report
from recbole_vae_plugin.compare.results import Results
from recbole_vae_plugin.compare.tables import Comparison

NAUGHTY = 'a</script><b>"x" & y'


@pytest.fixture
def comparison(monkeypatch) -> Comparison:
    """Three methods, one of which has a collapsed posterior and one a name that is not HTML."""
    random = np.random.default_rng(0)
    effects = {"Pop": 0.1, "VAE": 0.3, NAUGHTY: 0.2}
    users, curves, runs = [], [], []
    for method, level in effects.items():
        for seed in (1, 2):
            labels = {"dataset": "toy", "method": method, "split_seed": 1, "model_seed": seed}
            names = [f"u{user}" for user in range(50)]
            lengths, recall = np.arange(50), {f"recall_q{n}@10": level for n in (1, 2, 3, 4)}
            values = {
                "user": names,
                "history": lengths,
                **recall,
                "ndcg@10": level + random.normal(0, 0.05, 50),
                "recall@10": level,
            }
            users.append(pd.DataFrame({**labels, **values}))
            epochs = pd.DataFrame({**labels, "epoch": range(5), "valid_ndcg@10": level * np.arange(5) / 5})
            if method == "VAE":
                epochs[["reconstruction", "kl", "beta", "active_units"]] = [[100.0, 3.0, 0.1, 1]] * 5
            curves.append(epochs)
            cost = {"train_seconds": 1.0, "eval_seconds": 0.1, "seconds": 10 * level}
            cost |= {"peak_memory": 500.0, "parameters": 1000, "prepare_seconds": 0.5}
            cost |= {"test_ndcg@10": values["ndcg@10"].mean(), "test_recall@10": level}
            runs.append({"failed": None, **labels, **cost})
    experiment = {
        "name": "toy & others",
        "description": "Planted.",
        "datasets": {"toy": {"dataset": "toy"}},
        "methods": {
            "Pop": {"model": "Pop"},
            "VAE": {"model": "VAESplit"},
            NAUGHTY: {"model": "EASE"},
        },
        "settings": {},
        "baseline": "Pop",
        "metrics": ["NDCG", "Recall"],
        "topk": [10],
        "valid_metric": "NDCG@10",
        "split_seeds": [1],
        "model_seeds": [1, 2],
        "method_seeds": {},
        "checkpoints": False,
    }
    results = Results(Path("results"), experiment)
    tables = {"users": pd.concat(users), "curves": pd.concat(curves), "runs": pd.DataFrame(runs)}
    for name, table in tables.items():
        results.__dict__[name] = table
    results.__dict__["_found"] = [(Path(), {"environment": {"torch": "2", "gpu": None}})]
    return Comparison(results)


@pytest.fixture
def page(comparison) -> Path:
    report.write_report(comparison, Path("new", "report.html"))
    return Path("new", "report.html").resolve()


def test_the_page_stands_alone_and_escapes_what_users_wrote(page):
    text = page.read_text()
    head, _, _ = text.partition("<script>")
    assert "src=" not in head and "toy &amp; others" in head
    assert NAUGHTY not in text and "a&lt;/script&gt;" in head
    assert "The posterior of VAE has collapsed in 2 of 2 runs: at most 1 of 200" in head
    assert "better by" in head


def test_the_pictures_data_has_null_for_nan_and_methods_in_their_order(comparison):
    comparison.results.curves.iloc[0, comparison.results.curves.columns.get_loc("valid_ndcg@10")] = np.nan
    report.write_report(comparison, Path("nan.html"))
    _, _, rest = Path("nan.html").read_text().partition('<script id="data" type="application/json">')
    (data,) = json.loads(rest.partition("</script>")[0], parse_constant=pytest.fail)
    assert data["curves"][0]["valid"][:2] == [None, pytest.approx(0.02)]
    assert list(data["users"]) == ["Pop", "VAE", NAUGHTY]


def test_without_a_finished_run_there_is_no_page(comparison):
    comparison.summary = comparison.summary.iloc[:0]
    with pytest.raises(ValueError, match="no finished run"):
        report.write_report(comparison, Path("none.html"))
    assert not Path("none.html").exists()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Chromium without a window."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if not all(programs):
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--window-size=1200,900",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs[1]))
    yield driver
    driver.quit()


class TestInABrowser:
    @pytest.fixture
    def shown(self, browser, page):
        browser.get(page.as_uri())
        return browser

    def texts(self, shown, selector: str) -> list[str]:
        return [found.text for found in shown.find_elements("css selector", selector)]

    def test_it_loads_without_errors_and_the_pictures_are_there(self, shown):
        assert shown.find_element("tag name", "body").get_attribute("data-ready") == "yes"
        assert [entry["message"] for entry in shown.get_log("browser")] == []
        charts = shown.find_elements("css selector", ".chart")
        drawn = shown.find_elements("css selector", ".overplot .trace path")
        assert len(charts) == 9 and len(drawn) >= len(charts)
        assert all(chart.find_elements("css selector", "svg.main-svg") for chart in charts)

    def test_a_click_sorts_and_another_turns_round(self, shown):
        button = shown.find_elements("css selector", "th button")[1]
        assert button.text == "ndcg@10 ↑"
        for expected in (["VAE", NAUGHTY, "Pop"], ["Pop", NAUGHTY, "VAE"]):
            button.click()
            assert self.texts(shown, "tbody td:first-child") == expected

    def test_typing_filters(self, shown):
        shown.find_element("css selector", "input[type=search]").send_keys("va")
        rows = shown.find_elements("css selector", "tbody tr")
        assert [row.is_displayed() for row in rows] == [False, True, False]

    def test_two_methods_can_be_chosen(self, shown):
        title = ".chart[data-chart=users] .xtitle"
        assert "50 better, 0 worse" in self.texts(shown, title)[0]
        first = shown.find_element("css selector", "[data-role=first]")
        first.find_element("css selector", "option[value=Pop]").click()
        assert "0 better, 0 worse, 50 equal" in self.texts(shown, title)[0]

    def test_another_cost_can_be_chosen(self, shown):
        title = ".chart[data-chart=costs] .xtitle"
        assert self.texts(shown, title) == ["s per run, data prepared"]
        shown.find_element("css selector", "[data-role=cost] option[value=parameters]").click()
        assert self.texts(shown, title) == ["parameters"]

    def test_groups_of_items_can_be_chosen(self, shown):
        axis = ".chart[data-chart=groups] .ytitle"
        assert self.texts(shown, axis) == ["difference in ndcg@10"]
        choice = shown.find_element("css selector", "[data-role=groups]")
        choice.find_elements("css selector", "option")[1].click()
        assert self.texts(shown, axis) == ["difference in recall@10"]

    def test_a_phone_scrolls_the_table_and_not_the_page(self, shown):
        shown.set_window_size(500, 900)
        shown.refresh()
        width = shown.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert width[0] <= width[1]
