"""Finds hours with far more or fewer events than the season explains, and says why."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2, nbinom
from sklearn.compose import make_column_transformer
from sklearn.linear_model import PoissonRegressor
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from events.domain.windows import HOUR
from events.errors import InvalidInput
from examples.forecast.features import REACH

_FOLDS = 4
_LEAST_ROWS = 500
_LEAST_SPREAD = 0.001
_SHRINKAGE = 0.001


def anomalies(frame: pd.DataFrame, *, once_in: int) -> pd.DataFrame:
    """
    The hours whose count lies outside the range that the model expects.

    The model is a Poisson regression over all customers. It predicts the count in relation to the
    customer's last seven days, from the hour, the weekday, and the counts one day and one week
    before. Each hour is predicted by a model that has not seen it.

    Args:
        frame: One row per hour, as `as_known` gives it.
        once_in: List counts that the model expects less than once in so many hours.

    Returns:
        The rows, with `expected_low`, `expected_high` and `reason`, ordered by time.

    Raises:
        InvalidInput: There are too few hours to learn from.
    """
    judged = _judged(frame)
    if len(judged) < _LEAST_ROWS:
        raise InvalidInput(
            f"the features have {len(judged):,} hours to learn from, after the first week of each "
            f"customer and event type: at least {_LEAST_ROWS:,} are needed"
        )
    expected = _expected(judged)
    spread = _spread(judged, expected)
    share = 0.5 / once_in
    counts = _distribution(expected, spread)
    count = judged["count"]
    is_outside = (counts.cdf(count) < share) | (counts.sf(count - 1) < share)
    # Limits take long to compute, so only for these.
    counts = _distribution(expected[is_outside], spread[is_outside])
    found = judged[is_outside].assign(
        expected_low=counts.ppf(share).astype(int), expected_high=counts.isf(share).astype(int)
    )
    return found.assign(
        reason=[
            reason(row.count, row.expected_low, row.expected_high, row.hour)
            for row in found.itertuples()
        ]
    )


def _distribution(mean: pd.Series, spread: pd.Series) -> Any:
    """Counts around a mean, with variance = mean + spread × mean²."""
    return nbinom(1 / spread, 1 / (1 + spread * mean))


def reason(count: int, low: int, high: int, hour: datetime) -> str:
    """Why an hour is listed: `412 events, expected 80 to 140 for a Tuesday 14:00 UTC`."""
    events = "1 event" if count == 1 else f"{count:,} events"
    return f"{events}, expected {low:,} to {high:,} for a {hour:%A %H:%M} UTC"


def _judged(frame: pd.DataFrame) -> pd.DataFrame:
    """The hours after the first week of a series, and not after a week without events."""
    first = frame.groupby(["customer_id", "event_type"]).hour.transform("min")
    is_judged = (frame.hour >= first + REACH * pd.Timedelta(HOUR)) & (frame.sum_7d > 0)
    return frame[is_judged].sort_values(["hour", "customer_id", "event_type"], ignore_index=True)


def _expected(judged: pd.DataFrame) -> pd.Series:
    level = judged.sum_7d / REACH
    inputs = pd.DataFrame(
        {
            "hour_of_day": judged.hour_of_day,
            "day_of_week": judged.day_of_week,
            "day_before": _log_ratio(judged.lag_24h, level),
            "week_before": _log_ratio(judged.lag_168h, level),
            "last_day": _log_ratio(judged.sum_24h, 24 * level),
        }
    )
    season = (OneHotEncoder(handle_unknown="ignore"), ["hour_of_day", "day_of_week"])
    recent = (StandardScaler(), ["day_before", "week_before", "last_day"])
    model = make_pipeline(
        make_column_transformer(season, recent), PoissonRegressor(alpha=_SHRINKAGE, max_iter=300)
    )
    # The rows are ordered by time, so each fold is a block of time. Weighted by the level, a
    # ratio to the level is a Poisson rate.
    weights = {"poissonregressor__sample_weight": level}
    with threadpool_limits(1):  # threads would wait for each other: the model is small
        ratio = cross_val_predict(
            model, inputs, judged["count"] / level, cv=KFold(_FOLDS), params=weights
        )
    return level * ratio


def _log_ratio(count: pd.Series, usual: pd.Series) -> pd.Series:
    return np.log((count + 1) / (usual + 1))


def _spread(judged: pd.DataFrame, expected: pd.Series) -> pd.Series:
    """
    How much more the counts of a series vary than Poisson says.

    The median of the busier hours says it, so the few hours that are to be found do not matter.
    """
    series = [judged.customer_id, judged.event_type]
    squares = (judged["count"] - expected) ** 2 / chi2.median(1)
    is_busy = expected >= expected.groupby(series).transform("median")
    spread = ((squares - expected) / expected**2).where(is_busy)
    return spread.groupby(series).transform("median").clip(lower=_LEAST_SPREAD)
