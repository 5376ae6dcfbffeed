"""The HTTP edge: one router per file."""
