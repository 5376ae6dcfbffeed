"""Compares past forecasts with what happened, and with seasonal-naive."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pandas as pd

from events.errors import InvalidInput
from examples.forecast.known import as_known
from examples.forecast.monthly import LEAST_DAYS, Model, daily, end_of_month, newest_hour

_DAY = timedelta(days=1)
_DAYS_BETWEEN = 7


@dataclass(frozen=True, slots=True)
class Backtest:
    """
    Forecasts of the rest of a month, added up over customers and times.

    Errors are the sums of the absolute errors; `in_interval` is how many forecasts had the usage in
    their 80 % interval.
    """

    times: int
    forecasts: int
    usage: int
    model_error: int
    seasonal_naive_error: int
    in_interval: int


def backtest(versions: pd.DataFrame, *, times: int, with_late: bool) -> Backtest:
    """
    Forecast the rest of the month at midnights of the past, one a week, and compare.

    Each model learns only from what was known at its midnight.

    Args:
        versions: All rows of the features.
        times: The greatest number of midnights.
        with_late: Also learn from the events that became known later.

    Raises:
        InvalidInput: No month with enough history before it is over.
    """
    happened = as_known(versions)
    usage = daily(happened, newest_hour(happened))
    midnights = [
        midnight
        for midnight in usage.index[LEAST_DAYS:][::-1]
        if end_of_month(midnight) <= usage.index[-1] + _DAY
    ][::_DAYS_BETWEEN][:times]
    results = []
    for midnight in midnights:
        if not with_late and midnight < versions.known_at.min():
            continue
        frame = as_known(versions, midnight, with_late=with_late)
        # What was not archived yet is forecast too.
        known = daily(frame, newest_hour(frame))
        if len(known) < LEAST_DAYS:
            continue
        start, end = known.index[-1] + _DAY, end_of_month(midnight)
        rest = Model(known).rest(known, (end - start).days)
        actual = usage[(usage.index >= start) & (usage.index < end)].sum()
        results.append(rest.assign(actual=actual[rest.index]))
    if not results:
        raise InvalidInput(
            f"the features have {len(usage)} full days: a backtest needs {LEAST_DAYS} days that "
            "were known before the end of a month that is over. If the archive was filled later, "
            "use --with-late"
        )
    all_results = pd.concat(results)
    actual = all_results.actual
    return Backtest(
        times=len(results),
        forecasts=len(all_results),
        usage=int(actual.sum()),
        model_error=int((all_results.expected - actual).abs().sum()),
        seasonal_naive_error=int((all_results.naive - actual).abs().sum()),
        in_interval=int(actual.between(all_results.low, all_results.high).sum()),
    )


def as_text(result: Backtest) -> str:
    """The result as a table and a verdict."""
    rows = [("model", result.model_error), ("seasonal-naive", result.seasonal_naive_error)]
    midnights = "1 midnight" if result.times == 1 else f"{result.times} midnights"
    lines = [
        f"{result.forecasts:,} forecasts of the rest of a month, made at {midnights}; "
        f"usage {result.usage:,} events",
        f"{'':14}  {'error':>12}  of the usage",
        *(f"{name:14}  {error:12,}  {_percent(error, result.usage):>12}" for name, error in rows),
        f"The 80 % interval held {result.in_interval:,} of {result.forecasts:,} times "
        f"({_percent(result.in_interval, result.forecasts)}).",
    ]
    model, naive = result.model_error, result.seasonal_naive_error
    if model < naive:
        lines.append(
            f"The model is better here: its error is {_percent(naive - model, naive)} smaller."
        )
    else:
        lines.append(
            "The model is not better than seasonal-naive, which repeats the last week: use "
            "seasonal-naive."
        )
    return "\n".join(lines)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "0.0 %"
