"""What this service costs, measured against the bare calls it is made of."""
