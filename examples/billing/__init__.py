"""Usage-based billing: a consumer group and a SQL database of its own, checked against the API."""
