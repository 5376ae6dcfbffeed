"""Forecasts the usage of the current month, with an interval."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from events.domain.windows import HOUR
from events.errors import InvalidInput

_INTERVAL = (0.1, 0.9)
#: Days ahead for which the model learns.
_HORIZONS = (1, 2, 3, 5, 7, 10, 14, 18, 22, 26, 31)
_WEEK = 7
#: Days of a customer before the first forecast.
LEAST_AGE = 14
LEAST_DAYS = 28
#: What is older teaches nothing about the next month.
_LONGEST = timedelta(days=400)
_FOLDS = 4
#: Keeps the coefficients small, so that little history changes little.
_SHRINKAGE = 10.0
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Month:
    """
    The usage of a customer in a UTC month.

    `counted` is the usage up to `until`. The numbers below are of the whole month: `low` to `high`
    is the 80 % interval, `seasonal_naive` repeats the last week.
    """

    customer_id: str
    month: str
    until: datetime
    counted: int
    expected: int
    low: int
    high: int
    seasonal_naive: int


def forecast(frame: pd.DataFrame, customer_id: str) -> Month:
    """
    The month of the newest hour.

    Args:
        frame: One row per hour of all customers, as `as_known` gives it.

    Raises:
        InvalidInput: There is too little history.
    """
    until = newest_hour(frame)
    usage = daily(frame, until)
    if customer_id not in usage:
        raise InvalidInput(f"customer {customer_id!r} has no full day of events in the features")
    midnight = usage.index[-1] + _DAY
    end = end_of_month(midnight)
    rest = Model(usage).rest(usage, (end - midnight).days)
    if customer_id not in rest.index:
        raise InvalidInput(
            f"customer {customer_id!r} has less than {LEAST_AGE} days of history: too few"
        )
    own = frame[(frame.customer_id == customer_id) & (frame.hour >= end - pd.DateOffset(months=1))]
    counted = int(own[own.hour < until]["count"].sum())
    # Events of the present day are counted and forecast.
    before = int(own[own.hour < midnight]["count"].sum())
    low, expected, high, naive = (
        max(counted, before + int(number))
        for number in rest.loc[customer_id, ["low", "expected", "high", "naive"]]
    )
    return Month(customer_id, f"{midnight:%Y-%m}", until, counted, expected, low, high, naive)


def newest_hour(frame: pd.DataFrame) -> datetime:
    """The end of the newest hour with events; later hours have no events of anybody."""
    until: datetime = (frame[frame["count"] > 0].hour.max() + HOUR).to_pydatetime()
    return until


def daily(frame: pd.DataFrame, end: datetime) -> pd.DataFrame:
    """Events of the last 400 full days before `end` (rows) and each customer (columns)."""
    midnight = pd.Timestamp(end).floor("D")
    rows = frame[frame.hour < midnight]
    usage = rows.groupby([rows.hour.dt.floor("D"), "customer_id"])["count"].sum().unstack()
    first = max(usage.index.min(), midnight - _LONGEST)
    days = pd.date_range(first, midnight, freq="D", inclusive="left")
    return usage.reindex(days).fillna(0).astype("int64")


def end_of_month(at: pd.Timestamp) -> pd.Timestamp:
    return at.normalize().replace(day=1) + pd.DateOffset(months=1)


class Model:
    """
    A linear model over all customers, and how far it was off.

    It predicts the factor by which the usage of the next days differs from seasonal-naive, so that
    large and small customers teach the same. The interval is from its errors in blocks of time that
    it has not seen, for as many days ahead. Raises `InvalidInput` if there is too little history.
    """

    def __init__(self, usage: pd.DataFrame) -> None:
        if len(usage) < LEAST_DAYS:
            raise InvalidInput(
                f"the features have {len(usage)} full days: at least {LEAST_DAYS} are needed"
            )
        pairs = _pairs(usage, range(LEAST_AGE, len(usage)), _HORIZONS)
        if len(pairs) < LEAST_DAYS:
            raise InvalidInput(f"no customer has {LEAST_DAYS} days of history: too few")
        factor = np.log((pairs.actual + 1) / (pairs.naive + 1))
        model = make_pipeline(StandardScaler(), Ridge(_SHRINKAGE))
        # The pairs are ordered by time, so each fold is a block of time.
        with threadpool_limits(1):  # threads would wait for each other: the model is small
            unseen = cross_val_predict(model, _inputs(pairs), factor, cv=KFold(_FOLDS))
            self._model = model.fit(_inputs(pairs), factor)
        self._errors = (factor - unseen).groupby(pairs.days).quantile(_INTERVAL).unstack()

    def rest(self, usage: pd.DataFrame, days: int) -> pd.DataFrame:
        """Customer → `low`, `expected`, `high` and `naive` of the days after the last one."""
        pairs = _pairs(usage, [len(usage)], [days]).set_index("customer_id")
        if pairs.empty:
            return pairs.assign(low=0, expected=0, high=0)
        factor = self._model.predict(_inputs(pairs))
        low, high = self._errors.iloc[abs(self._errors.index - days).argmin()]
        shifts = {"low": low, "expected": 0.0, "high": high}
        return pairs[["naive"]].assign(
            **{
                name: ((pairs.naive + 1) * np.exp(factor + shift) - 1).clip(0).round().astype(int)
                for name, shift in shifts.items()
            }
        )


def _inputs(pairs: pd.DataFrame) -> pd.DataFrame:
    """Growth, which adds up over the days ahead, and the last day in relation to its week."""
    growths = np.log(pairs[["growth", "growth_of_4_weeks"]])
    ahead = growths.mul(pairs.days, axis=0).add_suffix("_ahead")
    return growths.join(ahead).assign(days=pairs.days, last_day=np.log(pairs.last_day))


def _pairs(usage: pd.DataFrame, origins: Iterable[int], horizons: Sequence[int]) -> pd.DataFrame:
    """
    What is known at the start of a day, and the usage of the days from there.

    Args:
        origins: Numbers of days. After the last day, `actual` has no meaning.
    """
    # Usage before the n-th day.
    total = np.vstack([np.zeros(usage.shape[1], "int64"), usage.to_numpy().cumsum(axis=0)])
    parts = []
    for origin in origins:
        # One row per horizon, one column per customer.
        ends = [days for days in horizons if origin + days < len(total) or origin == len(usage)]
        days = np.array(ends, "int64")[:, None]
        now, week = total[origin], total[origin - _WEEK]
        last_week, last_day = now - week, now - total[origin - 1]
        weeks = min(4, origin / _WEEK)
        four_weeks = (now - total[max(origin - 4 * _WEEK, 0)]) / weeks
        rest = total[origin - _WEEK + days[:, 0] % _WEEK] - week
        end = np.minimum(origin + days[:, 0], len(usage))
        columns = {
            "customer_id": usage.columns.to_numpy(),
            "days": days,
            "last_day": (last_day + 1) / (last_week / _WEEK + 1),
            "growth": (last_week + 1) / (week - total[origin - 2 * _WEEK] + 1),
            "growth_of_4_weeks": (last_week + 1) / (four_weeks + 1),
            "naive": days // _WEEK * last_week + rest,
            "actual": total[end] - now,
        }
        is_old_enough = np.broadcast_to(total[origin - LEAST_AGE + 1] > 0, rest.shape)
        parts.append(
            {
                name: np.broadcast_to(values, rest.shape)[is_old_enough]
                for name, values in columns.items()
            }
        )
    return pd.DataFrame({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
