"""What an event is, how time is cut into windows, and how events add up. Pure: no I/O."""
