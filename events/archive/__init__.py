"""The Iceberg archive of the raw events."""
