"""A bill by usage: its own consumer group, a SQL database, and the buckets as its referee."""
