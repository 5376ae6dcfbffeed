"""Properties are tried on the same examples in every run, so that a failure is no surprise."""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=200)
settings.load_profile("repeatable")
