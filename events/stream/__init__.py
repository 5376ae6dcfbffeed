"""The Kafka edge: what reads from the bus and writes to it."""
