"""The Flink job: the stream in Java, its control and the batch in Python."""
