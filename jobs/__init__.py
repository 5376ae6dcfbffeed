"""Spark: recounts, streaming windows and upkeep of the archive."""
