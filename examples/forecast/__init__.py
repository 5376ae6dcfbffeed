"""Anomalies and a forecast of usage, from the archive."""
