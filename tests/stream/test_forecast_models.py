"""examples/forecast: its commands and its notebook, on an archive with planted anomalies."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest

from events.archive.catalog import open_catalog
from events.errors import InvalidInput
from events.models import Event
from examples.forecast.backtest import Backtest, as_text, backtest
from examples.forecast.cli import main
from examples.forecast.known import as_known
from examples.forecast.monthly import forecast
from tests.stream.forecasts import archive
from tests.support.factories import DAY, HOUR, HOUR_ZERO, time_text

EXAMPLE = Path(__file__).parents[2] / "examples" / "forecast"
#: February, March, and the first of April.
START, DAYS = HOUR_ZERO - 28 * DAY, 60
SPIKE, GAP = START + 22 * DAY + 14 * HOUR, START + 30 * DAY + 11 * HOUR

Run = Callable[..., tuple[int, str, str]]


def events_of(day: datetime, rng: random.Random) -> Iterator[Event]:
    """A day of two customers: more by day than by night, less at the weekend."""
    for hour in (day + number * HOUR for number in range(24)):
        for customer_id, most in (("acme", 6), ("other", 20)):
            usual = most * (1.1 + math.sin((hour.hour - 8) / 24 * 2 * math.pi)) / 2
            usual *= 0.5 if hour.weekday() >= 5 else 1
            number = round(rng.gauss(usual, math.sqrt(usual)))
            if customer_id == "other":
                number = {SPIKE: 5 * number, GAP: 0}.get(hour, number)
            for index in range(number):
                at = hour + index * timedelta(seconds=10)
                yield Event(customer_id, "api_call", f"t-{index}", at)


@pytest.fixture(scope="module")
def events() -> list[Event]:
    rng = random.Random(0)
    return [one for day in range(DAYS) for one in events_of(START + day * DAY, rng)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, events: list[Event]) -> str:
    """A catalog with the events, archived when they were over, and their features."""
    folder = str(tmp_path_factory.mktemp("forecast") / "iceberg")
    ends = [START + day * DAY for day in range(10, DAYS + 1, 10)]
    with closing(open_catalog("iceberg", folder)) as catalog, pytest.MonkeyPatch.context() as patch:
        for end in ends:
            archive(catalog, [e for e in events if end - 10 * DAY <= e.timestamp < end], end)
        patch.setenv("EVENTS_ICEBERG_CATALOG", folder)
        assert main(["update"]) == 0
    return folder


@pytest.fixture
def run(folder: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command; returns its exit code, output and errors."""
    monkeypatch.setenv("EVENTS_ICEBERG_CATALOG", folder)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        return (code, *capsys.readouterr())

    return call


def test_anomalies_are_the_planted_hours_with_reasons(run: Run, folder: str) -> None:
    code, out, err = run("anomalies", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "2 anomalies, in the table forecast.anomalies\n")
    assert [row["hour"] for row in rows] == [time_text(SPIKE), time_text(GAP)]
    high, low = (row["count"] for row in rows)
    assert high > rows[0]["expected_high"]
    assert low == 0 < rows[1]["expected_low"]
    assert [re.sub(r"[0-9]+ to [0-9]+", "LOW to HIGH", row["reason"]) for row in rows] == [
        f"{high} events, expected LOW to HIGH for a Tuesday 14:00 UTC",
        "0 events, expected LOW to HIGH for a Wednesday 11:00 UTC",
    ]
    # A customer without anomalies leaves those of others in the table.
    assert run("anomalies", "acme")[1:] == ("", "0 anomalies, in the table forecast.anomalies\n")
    with closing(open_catalog("iceberg", folder)) as catalog:
        table = catalog.load_table(("forecast", "anomalies")).scan().to_pandas()
    assert sorted(table.reason) == sorted(row["reason"] for row in rows)


def test_links_to_the_dashboard_mark_the_anomalies(run: Run) -> None:
    code, out, _ = run("anomalies", "--page", "http://127.0.0.1:8800/")
    *lines, link = out.splitlines()
    url = urlsplit(link)
    assert (code, url.netloc, url.path) == (0, "127.0.0.1:8800", "/")
    query = parse_qs(url.query)
    marks = query.pop("mark")
    assert query == {
        "customer": [lines[0].split()[0]],
        "start": [f"{SPIKE - DAY:%Y-%m-%d}"],
        "end": [f"{GAP + 2 * DAY:%Y-%m-%d}"],
    }
    assert [mark.partition(" ")[0] for mark in marks] == [
        time_text(SPIKE).replace(".000000", ""),
        time_text(GAP).replace(".000000", ""),
    ]
    for line, mark in zip(lines, marks, strict=True):
        assert line.endswith(mark.partition(": ")[2])
    code, out, err = run("anomalies", "--page", "http://127.0.0.1", "--json")
    assert (code, out) == (2, "")
    assert err == "error: --page and --json cannot be used together\n"


def test_a_forecast_has_exact_counts_and_an_interval(run: Run, events: list[Event]) -> None:
    at = HOUR_ZERO + 14 * DAY
    code, out, _ = run("forecast", "acme", "--at", time_text(at), "--json")
    month = json.loads(out)
    own = [one.timestamp for one in events if one.customer_id == "acme"]
    # Two days were not archived yet.
    known = START + 40 * DAY
    counted = sum(HOUR_ZERO <= one < known for one in own)
    whole = sum(HOUR_ZERO <= one < HOUR_ZERO + 31 * DAY for one in own)
    assert code == 0
    assert (month["customer_id"], month["month"], month["counted"]) == ("acme", "2021-03", counted)
    assert {type(month[name]) for name in ("expected", "low", "high", "seasonal_naive")} == {int}
    assert counted <= month["low"] <= month["expected"] <= month["high"]
    assert abs(month["expected"] - whole) < whole // 5
    assert month["until"] == time_text(known)
    text = run("forecast", "acme", "--at", time_text(at))[1]
    assert re.search(rf"80 % interval +{month['low']:,} to {month['high']:,}\n", text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody"], "customer 'nobody' has no full day of events"),
        (["acme", "--at", "2021-02-15"], "full days: at least 28 are needed"),
        (["acme", "--at", "2020-01-01"], "nothing was known at 2020-01-01T00:00:00.000000Z"),
    ],
)
def test_a_forecast_without_history_says_why(
    run: Run, arguments: Iterable[str], message: str
) -> None:
    code, out, err = run("forecast", *arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_a_backtest_forecasts_each_customer_once_a_week(run: Run, events: list[Event]) -> None:
    code, out, _ = run("backtest", "--json")
    result = Backtest(**json.loads(out))
    assert (code, result.times, result.forecasts) == (0, 5, 10)
    # At the midnights 3, 10, 17, 24 and 31 March, the archive had the days before these:
    starts = [HOUR_ZERO + day * DAY for day in (2, 2, 12, 22, 22)]
    end = HOUR_ZERO + 31 * DAY
    assert result.usage == sum(start <= one.timestamp < end for start in starts for one in events)
    assert run("backtest", "--times", "1")[1].startswith(
        "2 forecasts of the rest of a month, made at 1 midnight;"
    )


@pytest.mark.parametrize(
    ("model_error", "verdict"),
    [
        (90, "The model is better here: its error is 10.0 % smaller."),
        (100, "The model is not better than seasonal-naive, which repeats the last week: use sea"),
    ],
)
def test_the_verdict_follows_the_figures(model_error: int, verdict: str) -> None:
    text = as_text(Backtest(5, 10, 1000, model_error, 100, 8))
    assert f"model           {model_error:12,}  {model_error / 10:10.1f} %" in text
    assert "The 80 % interval held 8 of 10 times (80.0 %)." in text
    assert text.splitlines()[-1].startswith(verdict)


def test_the_model_sees_growth_that_seasonal_naive_does_not() -> None:
    counts = [round(1000 * 1.02**day) for day in range(90)]
    result = backtest(frame_of(counts), times=5, with_late=True)
    assert result.model_error < result.seasonal_naive_error // 4


def test_the_backtest_learns_only_what_was_known() -> None:
    counts = [1000 + 100 * (day % 7) for day in range(90)]
    late = frame_of([10 * count for count in counts], known_after=200 * DAY)
    result = backtest(pd.concat([frame_of(counts), late]), times=2, with_late=False)
    # The forecasts are right for what was known, and ten times too small in the end.
    assert result.seasonal_naive_error == result.usage * 9 // 10


def test_a_backtest_of_an_archive_that_was_filled_later_says_what_to_do() -> None:
    versions = frame_of([1000] * 90, known_after=900 * DAY)
    with pytest.raises(InvalidInput, match="If the archive was filled later, use --with-late"):
        backtest(versions, times=2, with_late=False)
    assert backtest(versions, times=2, with_late=True).seasonal_naive_error == 0


def test_events_of_the_current_day_are_not_forecast_twice() -> None:
    counts = [1000] * 60
    month = forecast(frame_of(counts), "acme")
    # The newest event is at 12:00, so this day is forecast as a whole.
    assert (month.month, month.until) == ("2021-04", START + 59 * DAY + 13 * HOUR)
    assert (month.counted, month.expected, month.seasonal_naive) == (1000, 30_000, 30_000)


def frame_of(counts: Iterable[int], *, known_after: timedelta = HOUR) -> pd.DataFrame:
    """Features with all events of a day at 12:00, as far as the forecast uses them."""
    hours = [START + day * DAY + 12 * HOUR for day, _ in enumerate(counts)]
    return pd.DataFrame(
        {
            "customer_id": "acme",
            "event_type": "api_call",
            "hour": pd.to_datetime(hours),
            "known_at": pd.to_datetime([hour + known_after for hour in hours]),
            "count": counts,
        }
    )


def test_late_events_are_left_out_unless_asked_for() -> None:
    versions = pd.concat([frame_of([1]), frame_of([2], known_after=2 * DAY)])
    end = START + DAY
    assert list(as_known(versions)["count"]) == [2]
    assert list(as_known(versions, end)["count"]) == [1]
    assert list(as_known(versions, end, with_late=True)["count"]) == [2]
    with pytest.raises(InvalidInput, match="nothing was known at"):
        as_known(versions, START + 12 * HOUR)


def cells() -> list[str]:
    document = json.loads((EXAMPLE / "forecast.ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
    assert [cell["outputs"] for cell in code] == [[]] * len(code)
    return ["".join(cell["source"]) for cell in code]


@pytest.mark.usefixtures("run")
def test_the_notebook_runs(events: list[Event]) -> None:
    names: dict[str, Any] = {}
    for cell in cells():
        exec(cell, names)
    assert names["days"].events.sum() == names["now"]["count"].sum() == len(events)


@pytest.mark.usefixtures("run")
def test_the_lines_of_the_readme_run(events: list[Event]) -> None:
    text = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```python\n(.+?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(lines, names)
    assert names["usage"]["count"].sum() == len(events)
    assert names["busiest"].events.sum() == len(events)
