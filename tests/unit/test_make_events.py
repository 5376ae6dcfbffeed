"""The sample file and the program that makes it, checked without code of this project."""

import csv
import importlib.util
import re
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import NamedTuple

import pytest

RESOURCES = Path(__file__).parents[2] / "resources"
PROGRAM = RESOURCES / "make_events.py"
SAMPLE = RESOURCES / "events.csv"

MARCH = datetime(2021, 3, 1, tzinfo=UTC)
APRIL = datetime(2021, 4, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

HEX_ID = re.compile(r"[0-9a-f]{32}")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
USUAL = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\+00")


class Row(NamedTuple):
    customer_id: str
    event_type: str
    transaction_id: str
    text: str

    @property
    def at(self) -> datetime:
        return datetime.fromisoformat(self.text).astimezone(UTC)

    @property
    def event(self) -> tuple[str, str, str, datetime]:
        return (*self[:3], self.at)


def load_program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_events", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_events = load_program()


def run(*arguments: str) -> bytes:
    command = [sys.executable, str(PROGRAM), *arguments]
    return subprocess.run(command, check=True, capture_output=True, timeout=240).stdout


def lines_of(**plan: object) -> list[str]:
    return list(make_events.lines(make_events.Plan(**plan)))


def parse(lines: Iterable[str]) -> list[Row]:
    header, *rows = csv.reader(lines, strict=True)
    assert header == ["customer_id", "event_type", "transaction_id", "timestamp"]
    return [Row(*row) for row in rows]


@pytest.fixture(scope="module")
def sample() -> list[Row]:
    with SAMPLE.open(encoding="ascii", newline="") as file:
        return parse(file)


# --- the sample file ---------------------------------------------------------------


def test_without_arguments_the_program_makes_the_sample() -> None:
    assert run() == SAMPLE.read_bytes()


def test_the_sample_has_6000_rows(sample: list[Row]) -> None:
    content = SAMPLE.read_bytes()

    assert len(sample) == 6_000
    assert content.count(b"\n") == 6_001
    assert content.endswith(b"\n")
    assert b"\r" not in content
    assert b'"' not in content


def test_the_first_customer_has_more_than_half_of_the_rows(sample: list[Row]) -> None:
    rows_by_customer = Counter(row.customer_id for row in sample)

    (largest, rows), *others = rows_by_customer.most_common()

    assert all(HEX_ID.fullmatch(customer) for customer in rows_by_customer)
    assert len(rows_by_customer) == 8
    assert largest == make_events.customer_ids(make_events.Plan().seed, 8)[0]
    assert rows > len(sample) / 2
    assert all(rows > 50 for _, rows in others)


def test_event_types_include_one_with_a_dash_and_one_with_a_dot(sample: list[Row]) -> None:
    rows_by_type = Counter(row.event_type for row in sample)

    assert set(rows_by_type) == {"page_view", "api_call", "search", "sign-in", "invoice.paid"}
    assert min(rows_by_type.values()) > 100


def test_transaction_ids_look_like_uuids(sample: list[Row]) -> None:
    assert all(UUID.fullmatch(row.transaction_id) for row in sample)


def test_all_instants_are_in_march_but_not_all_local_dates(sample: list[Row]) -> None:
    local_months = Counter(row.text[:7] for row in sample)

    assert all(MARCH <= row.at < APRIL for row in sample)
    assert set(local_months) == {"2021-02", "2021-03", "2021-04"}
    assert local_months["2021-02"] + local_months["2021-04"] < 10


def test_every_day_has_events_and_days_are_busier_than_nights(sample: list[Row]) -> None:
    rows_by_hour = Counter(row.at.hour for row in sample)

    assert {row.at.date() for row in sample} == {date(2021, 3, day) for day in range(1, 32)}
    assert set(rows_by_hour) == set(range(24))
    assert rows_by_hour[14] > 10 * rows_by_hour[2]
    assert len(set(rows_by_hour.values())) > 12


def test_most_timestamps_have_the_usual_spelling(sample: list[Row]) -> None:
    usual = sum(bool(USUAL.fullmatch(row.text)) for row in sample)
    offsets = {datetime.fromisoformat(row.text).utcoffset() for row in sample}

    assert 0.8 < usual / len(sample) < 0.95
    assert offsets == {timedelta(minutes=minutes) for minutes in (0, 60, 330, -480)}


@pytest.mark.parametrize(
    "form",
    [
        r"T.*\.\d{3}Z",
        r"T.*\.\d{6}Z",
        r"T[\d:]{8}Z",
        r" [\d:]{8}\+00",
        r" .*\.\d{6}\+00",
        r"T.*\.\d{3}\+00:00",
        r".*\+0530",
        r".*-08:00",
        r".*\.\d{3}\+01",
    ],
)
def test_the_sample_has_other_spellings(sample: list[Row], form: str) -> None:
    pattern = re.compile(r"\d{4}-\d\d-\d\d" + form)

    assert sum(bool(pattern.fullmatch(row.text)) for row in sample) >= 20


def test_one_row_in_twenty_is_a_duplicate(
    sample: list[Row],
) -> None:
    distinct_lines = set(sample)
    distinct_events = {row.event for row in sample}

    assert len(sample) - len(distinct_lines) == 150
    assert len(distinct_lines) - len(distinct_events) == 150


def test_duplicates_have_other_offsets_or_more_zeros(sample: list[Row]) -> None:
    texts_by_event: dict[tuple[str, str, str, datetime], set[str]] = {}
    for row in sample:
        texts_by_event.setdefault(row.event, set()).add(row.text)
    pairs = [texts for texts in texts_by_event.values() if len(texts) > 1]
    offsets = [{datetime.fromisoformat(text).utcoffset() for text in texts} for texts in pairs]

    assert sum(len(pair) > 1 for pair in offsets) > 20
    assert any(
        any(text.endswith("000+00") for text in texts) and any(USUAL.fullmatch(t) for t in texts)
        for texts in pairs
    )


def test_repeated_lines_are_far_apart(sample: list[Row]) -> None:
    index_of: dict[Row, int] = {}
    gaps = [index - index_of.setdefault(row, index) for index, row in enumerate(sample)]

    assert median(gap for gap in gaps if gap) > 1_000


def test_rows_are_out_of_order_and_a_few_are_days_late(sample: list[Row]) -> None:
    latest = MARCH
    delays = []
    for row in sample:
        latest = max(latest, row.at)
        delays.append(latest - row.at)

    assert sum(delay > timedelta(0) for delay in delays) > 1_000
    assert sorted(delays)[len(delays) // 2] < timedelta(hours=12)
    assert max(delays) > timedelta(days=7)


def test_some_events_are_on_the_hour_and_one_microsecond_before(sample: list[Row]) -> None:
    def is_hour(at: datetime) -> bool:
        return (at.minute, at.second, at.microsecond) == (0, 0, 0)

    instants = {row.at for row in sample}
    before = {at for at in instants if is_hour(at + MICROSECOND)}

    assert sum(is_hour(at) for at in instants) > 20
    assert len(before) > 20
    assert any(at + MICROSECOND in instants for at in before)
    assert {MARCH, APRIL - MICROSECOND} <= instants


def test_a_few_distinct_events_share_a_transaction(sample: list[Row]) -> None:
    events = {row.event for row in sample}

    assert 5 < len(events) - len({event[:3] for event in events}) < 60


# --- the program -------------------------------------------------------------------


@pytest.mark.parametrize("duplicates", [0, 0.05, 0.9])
@pytest.mark.parametrize("rows", [0, 1, 2, 3, 59, 1_000])
@pytest.mark.parametrize("customers", [1, 2, 50])
def test_a_file_has_exactly_the_requested_rows_and_duplicates(
    rows: int, duplicates: float, customers: int
) -> None:
    result = parse(lines_of(rows=rows, duplicates=duplicates, customers=customers, seed=5))

    assert len(result) == rows
    assert len({row.event for row in result}) == rows - int(rows * duplicates)
    assert {row.customer_id for row in result} <= set(make_events.customer_ids(5, customers))


def test_zero_rows_are_the_header_only() -> None:
    assert run("--rows", "0") == b"customer_id,event_type,transaction_id,timestamp\n"


def test_a_file_and_standard_output_get_the_same_bytes(
    tmp_path: Path,
) -> None:
    path = tmp_path / "events.csv"
    path.write_text("what was here before")
    arguments = ["--rows", "500", "--seed", "8", "--customers", "9", "--duplicates", "0.2"]

    to_standard_output = run(*arguments, "--output", "-")
    to_file = run(*arguments, "--output", str(path))

    assert to_file == b""
    assert path.read_bytes() == to_standard_output
    assert to_standard_output.count(b"\n") == 501


@pytest.mark.parametrize(("seed", "other"), [(3, 4), (1, -1), (0, 1)])
def test_another_seed_gives_another_file_with_other_customers(seed: int, other: int) -> None:
    first, second = (parse(lines_of(rows=200, seed=number)) for number in (seed, other))

    assert not {row.customer_id for row in first} & {row.customer_id for row in second}
    assert not {row.transaction_id for row in first} & {row.transaction_id for row in second}


def test_a_longer_file_of_the_same_seed_has_the_same_customers() -> None:
    short, long = (parse(lines_of(rows=rows)) for rows in (1_000, 3_000))

    assert {row.customer_id for row in short} == {row.customer_id for row in long}


def test_start_and_days_bound_the_instants() -> None:
    instants = [row.at for row in parse(lines_of(rows=2_000, start=date(2024, 2, 28), days=3))]

    assert min(instants) == datetime(2024, 2, 28, tzinfo=UTC)
    assert max(instants) == datetime(2024, 3, 2, tzinfo=UTC) - MICROSECOND
    assert {at.day for at in instants} == {28, 29, 1}


def test_busy_seconds_have_no_further_duplicates() -> None:
    rows = parse(lines_of(rows=20_000, days=1, duplicates=0.1))

    assert len({row.event for row in rows}) == 18_000


def test_plain_files_are_ordered_and_have_no_duplicates() -> None:
    rows = parse(lines_of(rows=3_000, plain=True))

    assert len({row.event for row in rows}) == len(rows) == 3_000
    assert all(USUAL.fullmatch(row.text) for row in rows)
    assert all(before.text <= after.text for before, after in pairwise(rows))
    assert all(MARCH <= row.at < APRIL for row in rows)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows() -> None:
    # With so many duplicates both pools are full after 5,000 rows. Keeping every row would take
    # 3 MB more.
    lines = make_events.lines(make_events.Plan(rows=10_000_000, duplicates=0.9))

    tracemalloc.start()
    try:
        taken = sum(1 for _ in islice(lines, 20_000))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert taken == 20_000
    assert peak_bytes < 1_500_000


def test_a_reader_that_stops_early_is_no_error() -> None:
    command = [sys.executable, str(PROGRAM), "--rows", "100000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"customer_id,")
        process.stdout.close()
        errors = process.stderr.read()

    assert errors == b""
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["--rows", "-1"], "--rows"),
        (["--rows", "many"], "--rows"),
        (["--seed", "1.5"], "--seed"),
        (["--customers", "0"], "--customers"),
        (["--days", "0"], "--days"),
        (["--start", "2021-02-29"], "--start"),
        (["--start", "0001-01-01"], "choose another --start or fewer --days"),
        (["--start", "9999-12-01", "--days", "31"], "choose another --start or fewer --days"),
        (["--duplicates", "1"], "--duplicates"),
        (["--duplicates", "nan"], "--duplicates"),
        (["--duplicates", "0.05", "--plain"], "cannot be used together"),
        (["--output", "no/such/directory/x.csv"], "a file in an existing folder"),
    ],
)
def test_a_wrong_argument_says_what_to_give(
    arguments: list[str],
    advice: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SystemExit) as stopped:
        make_events.app(arguments)

    assert stopped.value.code == 2
    assert advice in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        make_events.app(["--help"])

    text = capsys.readouterr().out
    options = ["rows", "seed", "customers", "days", "start", "output", "duplicates", "plain"]
    assert stopped.value.code == 0
    assert all(f"--{option}" in text for option in options)
