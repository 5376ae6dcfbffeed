"""Exact counts of usage events per customer and UTC hour."""

__version__ = "0.2.0"
