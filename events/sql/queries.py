"""The statements that read, each built once."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    Table,
    and_,
    bindparam,
    func,
    select,
    tuple_,
)

from events.sql.tables import (
    CHANGE_CLOCK,
    CHANGE_ORDER,
    COUNTS,
    CUSTOMERS,
    EVENT_KEY,
    EVENTS,
    HOURS,
)

#: An event's key without the customer.
KEY = EVENT_KEY[1:]
COUNTS_ORDER = (COUNTS.c.day, COUNTS.c.event_type)


def names(prefix: str, columns: tuple[Any, ...]) -> list[str]:
    """Names of the parameters for one bound of a range."""
    return [f"{prefix}_{item.name}" for item in columns]


def _bound(prefix: str, columns: tuple[Any, ...]) -> ColumnElement[Any]:
    return tuple_(
        *(
            bindparam(name, type_=item.type)
            for name, item in zip(names(prefix, columns), columns, strict=True)
        )
    )


def _customer(table: Table) -> ColumnElement[bool]:
    return table.c.customer_id == bindparam("customer_id")


_LIMIT = bindparam("limit", type_=Integer)

# --- events: after the key `low`, before the key `high` -------------------------------------------

_IN_RANGE = and_(
    _customer(EVENTS), tuple_(*KEY) > _bound("low", KEY), tuple_(*KEY) < _bound("high", KEY)
)
_COUNTED = and_(_IN_RANGE, EVENTS.c.voided_at.is_(None))
COUNT_EVENTS = select(func.count()).select_from(EVENTS).where(_COUNTED)
COUNT_BY_TYPE = (
    select(EVENTS.c.event_type, func.count()).where(_COUNTED).group_by(EVENTS.c.event_type)
)
COUNTED_EVENTS = select(EVENTS).where(_COUNTED).order_by(*KEY).limit(_LIMIT)
OLDEST_EVENTS = select(EVENTS).where(_IN_RANGE).order_by(*KEY).limit(_LIMIT)
NEWEST_EVENTS = (
    select(EVENTS).where(_IN_RANGE).order_by(*(item.desc() for item in KEY)).limit(_LIMIT)
)

# --- counters, customers, changes -----------------------------------------------------------------

DAY_COUNTS = (
    select(*COUNTS_ORDER, COUNTS.c.updated_at, *(COUNTS.c[name] for name in HOURS))
    .where(
        _customer(COUNTS),
        COUNTS.c.by_type == bindparam("by_type"),
        tuple_(*COUNTS_ORDER) > _bound("low", COUNTS_ORDER),
        COUNTS.c.day >= bindparam("first_day"),
        COUNTS.c.day <= bindparam("last_day"),
    )
    .order_by(*COUNTS_ORDER)
    .limit(_LIMIT)
)
CUSTOMER = select(CUSTOMERS.c.customer_id).where(_customer(CUSTOMERS))
CUSTOMERS_FROM = (
    select(CUSTOMERS.c.customer_id)
    .where(CUSTOMERS.c.customer_id >= bindparam("first"))
    .order_by(CUSTOMERS.c.customer_id)
    .limit(_LIMIT)
)


def _next_customer(table: Table) -> Select[tuple[str]]:
    name = table.c.customer_id
    return select(name).where(name > bindparam("after")).order_by(name).limit(1)


NEXT_WITH_EVENTS, NEXT_WITH_COUNTS = _next_customer(EVENTS), _next_customer(COUNTS)

CLOCK = select(CHANGE_CLOCK.c.created_at, CHANGE_CLOCK.c.changed_at)
CHANGED_DAYS = (
    select(*CHANGE_ORDER)
    .where(
        tuple_(*CHANGE_ORDER) > _bound("low", CHANGE_ORDER),
        CHANGE_ORDER[0] < bindparam("until", type_=CHANGE_ORDER[0].type),
    )
    .order_by(*CHANGE_ORDER)
    .limit(_LIMIT)
)
