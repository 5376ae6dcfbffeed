"""Rules of the code broken on purpose, and the tests that should notice."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """`before` occurs exactly once in `file`; `tests` are what pytest runs, separated by spaces."""

    rule: str
    file: str
    before: str
    after: str
    tests: str


MUTANTS = [
    # --- identity ---------------------------------------------------------------------------------
    Mutant(
        "keys are injective: % is escaped",
        "events/datamodels.py",
        '.replace("%", "%25").replace("-", "%2D")',
        '.replace("-", "%2D")',
        "tests/property/test_keys.py",
    ),
    Mutant(
        "the key keeps microseconds",
        "events/domain/timestamps.py",
        '.isoformat(timespec="microseconds")[:26] + "Z"',
        '.isoformat(timespec="milliseconds")[:23] + "000Z"',
        "tests/property/test_keys.py",
    ),
    Mutant(
        "an offset is subtracted, not added",
        "events/domain/zones.py",
        "            return at.astimezone(UTC)\n",
        "            return at.replace(tzinfo=UTC) - (at - at.replace(tzinfo=UTC))\n",
        "tests/unit/test_timestamps.py",
    ),
    Mutant(
        "an id has no NUL",
        "events/domain/parsing.py",
        r'r"[\x00-\x1f',
        r'r"[\x01-\x1f',
        "tests/unit/test_parsing.py",
    ),
    # --- writing ----------------------------------------------------------------------------------
    Mutant(
        "an event is stored only if it is new",
        "events/dynamodb/expressions.py",
        '"attribute_not_exists(customer_id)"',
        '"attribute_not_exists(nothing)"',
        "tests/store/test_store.py",
    ),
    Mutant(
        "a voided event does not come back",
        "events/dynamodb/expressions.py",
        '"attribute_not_exists(customer_id)"',
        '"attribute_not_exists(customer_id) OR attribute_exists(voided_at)"',
        "tests/store/test_void.py",
    ),
    Mutant(
        "each event is counted once",
        "events/dynamodb/expressions.py",
        '{"N": str(sign * n)}',
        '{"N": str(2 * sign * n)}',
        "tests/property/test_increments.py",
    ),
    Mutant(
        "each event is counted by its type too",
        "events/dynamodb/expressions.py",
        "return puts + counters",
        "return puts + counters[:1]",
        "tests/property/test_increments.py",
    ),
    Mutant(
        "an event is counted in its own hour",
        "events/dynamodb/expressions.py",
        "hour = event.timestamp.hour",
        "hour = (event.timestamp.hour + 1) % 24",
        "tests/property/test_increments.py",
    ),
    Mutant(
        "a day whose counters are gone is noticed",
        "events/dynamodb/expressions.py",
        '["ConditionExpression"] = "attribute_exists(customer_id)"',
        '["ConditionExpression"] = "attribute_not_exists(nothing)"',
        "tests/store/test_faults.py::test_a_day_whose_counters_are_gone_is_registered_again",
    ),
    Mutant(
        "a transaction has at most 100 actions",
        "events/models.py",
        "MAX_ACTIONS = 100",
        "MAX_ACTIONS = 101",
        "tests/unit/test_writer.py tests/property/test_increments.py",
    ),
    Mutant(
        "an event occurs once in a transaction",
        "events/ingest/writer.py",
        "events = list(batch)",
        "events = [entry.event for entries in batch.values() for entry in entries]",
        "tests/unit/test_writer_receipts.py",
    ),
    Mutant(
        "one of two equal events is a duplicate",
        "events/ingest/writer.py",
        "outcome = repeated.get(outcome, outcome)",
        "pass",
        "tests/unit/test_writer_receipts.py",
    ),
    Mutant(
        "draining waits for transactions in flight",
        "events/ingest/writer.py",
        "wait_for(lambda: not self._lanes)",
        "wait_for(lambda: not any(self._lanes.values()))",
        "tests/unit/test_writer_receipts.py",
    ),
    Mutant(
        "voiding takes an event out of the counters",
        "events/dynamodb/expressions.py",
        "return marks + _counter_actions(tables, events, -1, now)",
        "return marks",
        "tests/store/test_void.py",
    ),
    Mutant(
        "an erasure leaves no counter",
        "events/dynamodb/erasure.py",
        "for counter in counters:",
        "for counter in counters[1:]:",
        "tests/store/test_erasure.py",
    ),
    # --- answers of the store ---------------------------------------------------------------------
    Mutant(
        "a resend keeps its client token",
        "events/dynamodb/requests.py",
        "_checked(operation(**request))",
        # botocore then makes a token for each call
        '_checked(operation(**{name: request[name] for name in request if "Token" not in name}))',
        "tests/store/test_faults.py::test_a_list_of_actions_keeps_its_token_over_retries",
    ),
    Mutant(
        "a conflict is not a duplicate",
        "events/dynamodb/answers.py",
        "if reason == _CONDITION_FAILED and index < number_of_events:",
        'if reason in (_CONDITION_FAILED, "TransactionConflict") and index < number_of_events:',
        "tests/unit/test_answers.py",
    ),
    Mutant(
        "a throttle is retried",
        "events/dynamodb/answers.py",
        '        "ThrottlingError",\n',
        "",
        "tests/unit/test_answers.py",
    ),
    Mutant(
        "after a cancellation the other events are sent again",
        "events/dynamodb/transactions.py",
        "remaining = [i for index, i in enumerate(remaining) if index not in items]",
        "remaining = []",
        "tests/store/test_store.py",
    ),
    Mutant(
        "an unknown outcome is retried",
        "events/dynamodb/requests.py",
        "            except UNKNOWN_OUTCOME as exc:\n                failure = exc\n",
        "            except UNKNOWN_OUTCOME as exc:\n                failure = exc\n"
        "                break\n",
        "tests/store/test_faults.py::test_an_event_whose_answer_was_lost_is_inserted_once",
    ),
    Mutant(
        "a success that DynamoDB did not send is not a receipt",
        "events/dynamodb/requests.py",
        'if "RequestId" not in answer["ResponseMetadata"]:',
        "if False:",
        "tests/store/test_lasting_faults.py::test_a_foreign_success_is_not_a_receipt",
    ),
    Mutant(
        "a day is logged before it changes",
        "events/dynamodb/transactions.py",
        "self.changes.ensure_logged(customer_id, day)",
        "pass",
        "tests/store/test_changelog.py",
    ),
    Mutant(
        "a clock that is slow is refused",
        "events/dynamodb/changelog.py",
        "if abs(now - date) > self.max_skew:",
        "if now - date > self.max_skew:",
        "tests/unit/test_minutes.py",
    ),
    # --- reading ----------------------------------------------------------------------------------
    Mutant(
        "a range excludes its end",
        "events/datamodels.py",
        'f"{end}." if window.end == LATEST else end',
        'f"{end}."',
        "tests/property/test_keys.py",
    ),
    Mutant(
        "the hour at the end is not in the range",
        "events/queries/hours.py",
        "if not parts.whole.start <= hour < parts.whole.end:",
        "if not parts.whole.start <= hour <= parts.whole.end:",
        "tests/unit/test_buckets.py",
    ),
    Mutant(
        "part of an hour is counted from the events",
        "events/queries/hours.py",
        "hours.counts[hour] = sum(counts.values())",
        "hours.counts[hour] = busy[clipped.index(piece)]",
        "tests/unit/test_buckets.py",
    ),
    Mutant(
        "part of an hour is marked as partial",
        "events/queries/hours.py",
        "return {floor_hour(piece.start) for piece in split(window).clipped}",
        "return set()",
        "tests/unit/test_buckets.py",
    ),
    Mutant(
        "voided events do not count in part of an hour",
        "events/dynamodb/reader.py",
        '"attribute_not_exists(voided_at)"',
        '"attribute_exists(customer_id)"',
        "tests/store/test_void.py",
    ),
    Mutant(
        "last_ingested_at is of the last change",
        "events/dynamodb/expressions.py",
        '"SET updated_at = :now"',
        '"SET updated_at = if_not_exists(updated_at, :now)"',
        "tests/store/test_store.py::test_a_counter_has_the_time_of_its_last_change",
    ),
    Mutant(
        "a page says that there is a next one",
        "events/queries/buckets.py",
        "islice(rows, query.limit + 1)",
        "islice(rows, query.limit)",
        "tests/unit/test_bucket_options.py tests/api/test_pages.py",
    ),
    Mutant(
        "a cursor lies inside its range",
        "events/dynamodb/reader.py",
        "if not low < after < high or",
        "if",
        "tests/store/test_lookup.py",
    ),
    # --- the proof --------------------------------------------------------------------------------
    Mutant(
        "verify compares the counters with the events",
        "events/verification.py",
        "hours |= _hours(_compare(customer_id, day, after, stored))",
        "hours |= _hours(_compare(customer_id, day, after, after))",
        "tests/store/test_verification.py",
    ),
    Mutant(
        "verify reports what two recounts show",
        "events/verification.py",
        "if differences and differences == seen.get(hour):",
        "if differences:",
        "tests/store/test_verification_races.py",
    ),
    Mutant(
        "verify compares the counters of types",
        "events/verification.py",
        "for hour, count in counts.hours.items()",
        "for hour, count in counts.hours.items()\n        if event_type is None",
        "tests/store/test_verification.py",
    ),
    Mutant(
        "verify does not register a customer that was erased meanwhile",
        "events/verification.py",
        "and next(self._store.counted_events(customer_id), None) is not None",
        "",
        "tests/store/test_verification_races.py",
    ),
    # --- files ------------------------------------------------------------------------------------
    Mutant(
        "a header says which column is which",
        "events/domain/columns.py",
        "in_order = itemgetter(*layout.indexes)",
        "in_order = itemgetter(0, 1, 2, 3)",
        "tests/unit/test_headers.py",
    ),
    Mutant(
        "quotes are read strictly",
        "events/ingest/csvrows.py",
        "return '\"' not in line or _well_quoted(delimiter).fullmatch(line) is not None",
        "return True",
        "tests/unit/test_csvrows.py",
    ),
    Mutant(
        "a header counts as a line",
        "events/ingest/csvrows.py",
        "            part = part[end:]\n            line += 1\n",
        "            part = part[end:]\n",
        "tests/unit/test_csvrows.py",
    ),
    Mutant(
        "the repeated hour is not guessed",
        "events/domain/zones.py",
        "if local.ambiguous_hour is None:",
        "if False:",
        "tests/unit/test_timeprints.py",
    ),
    Mutant(
        "dates that no row decides are not guessed",
        "events/domain/timeformats.py",
        'if not day and not month and "day or month" in examples:',
        "if False:",
        "tests/unit/test_timeformats.py",
    ),
    Mutant(
        "an id has no invisible character",
        "events/domain/parsing.py",
        "if invisible is not None:\n        name =",
        "if False:\n        name =",
        "tests/unit/test_parsing.py",
    ),
    Mutant(
        "two CloudEvents never become one event",
        "events/domain/cloudevents.py",
        "if any(map(str.isspace, source)):",
        "if False:",
        "tests/unit/test_cloudevents.py",
    ),
    Mutant(
        "another header stops the run",
        "events/ingest/csvrows.py",
        "if is_header and names_known(row, self._columns):",
        "if False:",
        "tests/unit/test_headers.py",
    ),
    Mutant(
        "a cut-off zstd file is noticed",
        "events/ingest/streams.py",
        "if self._frame is not None:\n                    raise EOFError",
        "if False:\n                    raise EOFError",
        "tests/unit/test_source.py",
    ),
    Mutant(
        "exit code 1 says that rows were rejected",
        "events/cli/load.py",
        "code = EXIT_DIFFERENT",
        "code = EXIT_OK",
        "tests/cli/test_ingest_rejects.py",
    ),
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
