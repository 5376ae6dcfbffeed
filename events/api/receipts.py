"""What became of the events of a request, one by one: the bodies of the answers."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import BaseModel, Field
from typing_extensions import TypedDict  # pydantic takes no other before Python 3.12


class Receipt(TypedDict):
    """What became of one event."""

    # A dictionary, not a model: a thousand are made for one answer, ten times as fast.
    index: Annotated[int, Field(ge=0, description="Its place in the request, from 0 on.")]
    status: Annotated[
        Literal["inserted", "duplicate", "voided", "rejected"],
        Field(
            description="`inserted` and counted; `duplicate` of one that is counted already; "
            "`voided` earlier, and not counted again; `rejected` for the reason in `error`."
        ),
    ]
    error: NotRequired[
        Annotated[
            str,
            Field(
                description="What is wrong with it.",
                examples=["timestamp: has no offset from UTC, such as Z or +01:00"],
            ),
        ]
    ]


class Receipts(BaseModel):
    """What became of the events of one request, in the order sent."""

    inserted: int = Field(ge=0, examples=[2])
    duplicates: int = Field(ge=0, examples=[1])
    voided: int = Field(ge=0, examples=[0])
    rejected: int = Field(ge=0, examples=[0])
    results: list[Receipt]


class AcceptedReceipt(TypedDict):
    """What became of one event that was handed to Kafka."""

    index: Annotated[int, Field(ge=0, description="Its place in the request, from 0 on.")]
    status: Annotated[
        Literal["accepted", "rejected"],
        Field(
            description="`accepted`: Kafka has it, and it is counted once it is consumed, if it "
            "was not before; `rejected` for the reason in `error`."
        ),
    ]
    error: NotRequired[Annotated[str, Field(description="What is wrong with it.")]]


class AcceptedReceipts(BaseModel):
    """What became of the events of one request where they go to Kafka, in the order sent."""

    accepted: int = Field(ge=0, examples=[3])
    rejected: int = Field(ge=0, examples=[0])
    results: list[AcceptedReceipt]


class VoidReceipt(TypedDict):
    """What became of one event that was to be voided."""

    index: Annotated[int, Field(ge=0, description="Its place in the request, from 0 on.")]
    status: Annotated[
        Literal["voided", "already_voided", "not_found", "rejected"],
        Field(
            description="`voided` now; `already_voided` earlier; `not_found`: no such event is "
            "stored; `rejected` for the reason in `error`."
        ),
    ]
    error: NotRequired[Annotated[str, Field(description="What is wrong with it.")]]


class VoidReceipts(BaseModel):
    """What became of the events of one correction, in the order sent."""

    voided: int = Field(ge=0, examples=[2])
    already_voided: int = Field(ge=0, examples=[0])
    not_found: int = Field(ge=0, examples=[0])
    rejected: int = Field(ge=0, examples=[0])
    results: list[VoidReceipt]
