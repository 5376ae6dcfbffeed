"""Rules of HTTP and Kafka broken on purpose, and the tests that should notice."""

from __future__ import annotations

from tests.support.mutant import Mutant

EDGES = [
    # --- HTTP -------------------------------------------------------------------------------------
    Mutant(
        "an API key needs the right",
        "events/auth/keyring.py",
        "if right not in self.rights:",
        "if not self.rights:",
        "tests/unit/test_keyring.py",
    ),
    Mutant(
        "an API key of one customer is for no other",
        "events/auth/keyring.py",
        "if self.customer_id is not None and self.customer_id != customer_id:",
        "if False:",
        "tests/unit/test_keyring.py",
    ),
    Mutant(
        "a revoked API key is refused",
        "events/auth/keys.py",
        "and key.revoked_at is None and",
        "and",
        "tests/unit/test_keys.py",
    ),
    Mutant(
        "a body without a length is limited too",
        "events/api/bodies.py",
        "if size > self._max_bytes:",
        "if False:",
        "tests/unit/test_bodies.py",
    ),
    Mutant(
        "all members of a gzip body are read",
        "events/api/bodies.py",
        "body = member.unused_data",
        'body = b""',
        "tests/unit/test_bodies.py",
    ),
    Mutant(
        "requests of a caller are counted",
        "events/api/security.py",
        "not self._limiter.hit(",
        "not self._limiter.test(",
        "tests/unit/test_ratelimits.py",
    ),
    # --- Kafka ------------------------------------------------------------------------------------
    Mutant(
        "no offset passes an unsettled message",
        "events/kafka/offsets.py",
        "while partition.open and partition.open[0].is_settled:",
        "while partition.open:",
        "tests/property/test_offsets.py",
    ),
    Mutant(
        "an offset is committed after the write",
        "events/kafka/pipeline.py",
        "batch.submitted_at = now\n",
        "batch.submitted_at = now\n"
        "        for entry in batch.entries:\n            entry.offset.settle()\n",
        "tests/unit/test_kafka_pipeline.py",
    ),
    Mutant(
        "a dead letter has its reason",
        "events/kafka/messages.py",
        "REASON: error.reason[:_MAX_REASON],",
        'REASON: "",',
        "tests/unit/test_kafka_messages.py",
    ),
    Mutant(
        "an event is at fault only if the store accepts others",
        "events/kafka/pipeline.py",
        "batch.strikes += batch.is_fair_trial",
        "batch.strikes += 1",
        "tests/unit/test_kafka_pipeline.py",
    ),
]
