"""What a question answers: buckets, periods, summaries, stored events, changes."""
