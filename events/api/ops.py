"""For whoever runs the service: is it alive, can it answer."""

from __future__ import annotations

from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from events.api.parameters import Service
from events.api.problems import responses

router = APIRouter(tags=["operations"])


class Status(BaseModel):
    """The service is well."""

    status: Literal["ok"] = "ok"


@router.get("/livez", summary="Is the process alive", responses=responses(HTTPStatus.BAD_REQUEST))
async def get_livez() -> Status:
    """The process answers; says nothing of the store."""
    return Status()


@router.get(
    "/readyz",
    summary="Can it answer questions",
    responses=responses(
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
def get_readyz(service: Service) -> Status:
    """The store answers a read of each table; 503 while it does not."""
    service.check()
    return Status()
