"""The API on a store in memory, which the clients send to."""

from tests.api.conftest import memory

__all__ = ["memory"]
