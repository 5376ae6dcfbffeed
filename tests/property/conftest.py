"""Properties try the same examples in every run; the second tier tries other and more ones."""

import os

from hypothesis import Phase, settings

settings.register_profile("quick", derandomize=True, deadline=None, max_examples=25)
settings.register_profile("thorough", deadline=None, max_examples=500, print_blob=True)
# For `make mutants`: the first failure is enough, however long its example.
settings.register_profile(
    "mutants", settings.get_profile("quick"), phases=(Phase.explicit, Phase.generate)
)
settings.load_profile(os.environ.get("EVENTS_TEST_PROFILE", "quick"))
