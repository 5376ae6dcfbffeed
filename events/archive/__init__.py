"""The Iceberg archive: every message of the topic, once."""
