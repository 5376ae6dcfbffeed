"""Settings: sources, allowed values, and the DynamoDB client made from them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError

from events.bootstrap import load_settings, make_client
from events.cli import settings
from events.config import Settings
from events.errors import InvalidInput

CHECKOUT = Path(__file__).parents[2]
#: The settings file; `conftest` turns it off for every test.
ENV_FILE = Settings.model_config["env_file"]
DEFAULTS = {name: field.default for name, field in Settings.model_fields.items()}
AWS = "dynamodb.eu-west-1.amazonaws.com"


# --- documentation --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "text"),
    [("docs/settings.md", settings.markdown()), (".env.example", settings.env_example())],
)
def test_generated_pages_are_up_to_date(path: str, text: str) -> None:
    assert (CHECKOUT / path).read_text(encoding="utf-8") == text, "run: make docs"


def test_there_are_few_settings() -> None:
    assert len(DEFAULTS) <= 24


def test_every_setting_has_a_description() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_unchanged_example_file_gives_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    without = load_settings()
    monkeypatch.setitem(Settings.model_config, "env_file", str(CHECKOUT / ".env.example"))
    assert load_settings() == without


# --- sources --------------------------------------------------------------------------------------


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Path of the settings file in a new working directory; not written yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(Settings.model_config, "env_file", ENV_FILE)
    return tmp_path / ".env"


def test_without_any_source_the_defaults_apply() -> None:
    assert load_settings().model_dump() == DEFAULTS


def test_a_file_in_the_working_directory_is_read(env_file: Path) -> None:
    env_file.write_text(
        "# a comment\n"
        "DYNAMODB_EVENTS_TABLE_NAME=from_file\n"
        "export EVENTS_WRITE_THREADS='7'\n"
        "SOMEBODY_ELSES=1\n",
        encoding="utf-8",
    )
    assert load_settings().model_dump() == {
        **DEFAULTS,
        "dynamodb_events_table_name": "from_file",
        "events_write_threads": 7,
    }


def test_the_environment_overrides_the_file(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file.write_text(
        "DYNAMODB_EVENTS_TABLE_NAME=from_file\nAWS_REGION=from-file\n", encoding="utf-8"
    )
    monkeypatch.setenv("DYNAMODB_EVENTS_TABLE_NAME", "from_environment")
    monkeypatch.setenv("EVENTS_WRITE_THREADS", "3")
    assert load_settings().model_dump() == {
        **DEFAULTS,
        "dynamodb_events_table_name": "from_environment",
        "aws_region": "from-file",
        "events_write_threads": 3,
    }


def test_an_empty_endpoint_in_the_environment_overrides_the_file(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file.write_text("DYNAMODB_ENDPOINT_URL=http://localhost:9999\n", encoding="utf-8")
    monkeypatch.setenv("DYNAMODB_ENDPOINT_URL", "")
    assert load_settings().dynamodb_endpoint_url == ""


def test_a_file_that_is_not_utf_8_is_refused_by_name(env_file: Path) -> None:
    env_file.write_bytes("DYNAMODB_EVENTS_TABLE_NAME=grün\n".encode("latin-1"))
    with pytest.raises(InvalidInput, match=r"\.env"):
        load_settings()


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DYNAMODB_ENDPOINT_URL", "localhost:9000"),
        ("DYNAMODB_ENDPOINT_URL", "ftp://localhost"),
        ("DYNAMODB_ENDPOINT_URL", "http://"),
        ("DYNAMODB_ENDPOINT_URL", "http://[::1"),
        ("DYNAMODB_ENDPOINT_URL", "http://localhost:port"),
        ("DYNAMODB_ENDPOINT_URL", "http://localhost:99999"),
        ("DYNAMODB_EVENTS_TABLE_NAME", ""),
        ("DYNAMODB_EVENTS_TABLE_NAME", "ab"),
        ("DYNAMODB_EVENTS_TABLE_NAME", "a b c"),
        ("DYNAMODB_EVENTS_TABLE_NAME", "événements"),
        ("DYNAMODB_EVENTS_TABLE_NAME", "events\n"),
        ("DYNAMODB_EVENTS_TABLE_NAME", "x" * 242),
        ("EVENTS_STORE_PATIENCE_SECONDS", ""),
        ("EVENTS_STORE_PATIENCE_SECONDS", "-0.1"),
        ("EVENTS_STORE_PATIENCE_SECONDS", "541"),
        ("EVENTS_STORE_PATIENCE_SECONDS", "nan"),
        ("EVENTS_STORE_PATIENCE_SECONDS", "inf"),
        ("EVENTS_STORE_PATIENCE_SECONDS", "a minute"),
        ("EVENTS_WRITE_THREADS", "0"),
        ("EVENTS_WRITE_THREADS", "65"),
        ("EVENTS_WRITE_THREADS", "1.5"),
        ("EVENTS_WRITE_THREADS", "four"),
        ("EVENTS_ICEBERG_CATALOG", ""),
        ("EVENTS_ICEBERG_CATALOG", "my-lake"),
        ("EVENTS_ICEBERG_CATALOG", "9lives"),
        ("EVENTS_ICEBERG_CATALOG", "/data/"),
        ("EVENTS_ICEBERG_CATALOG", "/data/a lake"),
        ("EVENTS_KAFKA_TOPIC", ".."),
        ("EVENTS_RATE_PER_KEY", "0/second"),
    ],
)
def test_an_invalid_value_is_refused_with_its_variable(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInput) as caught:
        load_settings()
    start = f"settings (environment or .env): {name} is {value!r}: "
    assert str(caught.value).startswith(start)
    assert len(str(caught.value)) > len(start)


@pytest.mark.parametrize(
    ("catalog", "name", "folder"),
    [
        ("lake", "lake", ".local/iceberg"),
        ("/data/events", "events", "/data/events"),
        ("/my-data/my-events", "my_events", "/my-data/my-events"),
    ],
)
def test_a_catalog_is_a_name_or_a_folder(
    catalog: str, name: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTS_ICEBERG_CATALOG", catalog)
    settings = load_settings()
    assert (settings.iceberg_catalog_name, settings.iceberg_folder) == (name, folder)


def test_all_invalid_values_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTS_WRITE_THREADS", "0")
    monkeypatch.setenv("EVENTS_STORE_PATIENCE_SECONDS", "541")
    with pytest.raises(InvalidInput) as caught:
        load_settings()
    assert re.findall(r"(\w+) is '(\d+)'", str(caught.value)) == [
        ("EVENTS_STORE_PATIENCE_SECONDS", "541"),
        ("EVENTS_WRITE_THREADS", "0"),
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dynamodb_events_table_name", "abc"),
        ("dynamodb_events_table_name", "x" * 241),
        ("events_store_patience_seconds", 0.0),
        ("events_store_patience_seconds", 540.0),
        ("events_write_threads", 64),
        ("events_write_threads", 1),
    ],
)
def test_the_bounds_are_allowed(name: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name.upper(), str(value))
    assert load_settings().model_dump() == {**DEFAULTS, name: value}


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("localhost", True),
        ("LOCALHOST", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("[::1]", True),
        ("user:password@localhost", True),
        ("localhost.example.com", False),
        ("localhost@example.com", False),
        ("127.0.0.1.example.com", False),
        ("example.com/localhost", False),
        ("10.0.0.1", False),
        ("128.0.0.1", False),
        ("0.0.0.0", False),
        ("[2001:db8::1]", False),
        (AWS, False),
    ],
)
def test_only_a_loopback_address_is_local(host: str, is_local: bool) -> None:
    settings = [
        Settings(dynamodb_endpoint_url=url)
        for url in (f"http://{host}", f"https://{host}", f"HTTP://{host}")
    ]
    assert [setting.is_local for setting in settings] == [is_local] * 3


@pytest.mark.parametrize(
    "url", ["http://localhost:9000", "http://127.9.9.9:1", "https://[::1]:9000/path"]
)
def test_a_loopback_address_with_a_port_is_local(url: str) -> None:
    assert Settings(dynamodb_endpoint_url=url).is_local


def test_aws_is_not_local() -> None:
    assert not Settings(dynamodb_endpoint_url="").is_local


# --- the client -----------------------------------------------------------------------------------

LOOPBACKS = ["http://localhost:9000", "http://127.0.0.1:9000", "http://[::1]:9000"]
ELSEWHERE = ["", f"https://{AWS}", "http://10.0.0.1:9000", "http://localhost.example.com:9000"]


@pytest.fixture(autouse=True)
def _an_account_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of an operator, and no AWS configuration of this machine."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL_DYNAMODB", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAREAL")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "real")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "real-token")


class _Body:
    def stream(self) -> Iterator[bytes]:
        yield b'{"__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException"}'


def requests_of(settings: Settings, *, status: int = 200) -> list[AWSPreparedRequest]:
    """The requests that the client makes for one call, each answered with `status`."""
    client = make_client(settings)
    requests: list[AWSPreparedRequest] = []

    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        requests.append(request)
        return AWSResponse(request.url, status, HTTPHeaders(), _Body())

    # botocore's types do not know handlers that answer, but its documentation does.
    client.meta.events.register("before-send.dynamodb", cast("Callable[..., None]", answer))
    if status == 200:
        client.list_tables()
    else:
        with pytest.raises(ClientError):
            client.list_tables()
    client.close()
    return requests


def signed_by(request: AWSPreparedRequest) -> tuple[str, str]:
    """Key id and region in the signature."""
    header = request.headers["Authorization"]
    text = header.decode() if isinstance(header, bytes) else str(header)
    match = re.search(r"Credential=([^/]+)/\d{8}/([^/]+)/dynamodb/", text)
    assert match
    return match[1], match[2]


@pytest.mark.parametrize("url", LOOPBACKS)
def test_a_local_database_never_gets_real_credentials(url: str) -> None:
    (request,) = requests_of(Settings(dynamodb_endpoint_url=url))
    assert request.url == f"{url}/"
    assert signed_by(request) == ("local", "us-east-1")
    assert "X-Amz-Security-Token" not in request.headers


@pytest.mark.parametrize("url", ELSEWHERE)
def test_no_other_address_gets_the_placeholder_credentials(url: str) -> None:
    (request,) = requests_of(Settings(dynamodb_endpoint_url=url, aws_region="eu-west-1"))
    assert request.url == f"{url or f'https://{AWS}'}/"
    assert signed_by(request) == ("AKIAREAL", "eu-west-1")
    assert request.headers["X-Amz-Security-Token"] in ("real-token", b"real-token")


@pytest.mark.parametrize("region", ["eu-west-1", "us-east-1", "ap-southeast-2"])
def test_without_an_endpoint_the_region_decides(region: str) -> None:
    client = make_client(Settings(dynamodb_endpoint_url="", aws_region=region))
    assert client.meta.endpoint_url == f"https://dynamodb.{region}.amazonaws.com"
    assert client.meta.region_name == region


def test_without_a_region_aws_s_own_configuration_decides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    client = make_client(Settings(dynamodb_endpoint_url=""))
    assert client.meta.endpoint_url == "https://dynamodb.eu-north-1.amazonaws.com"


@pytest.mark.parametrize("region", ["", "not a region"])
def test_aws_without_a_valid_region_is_refused(region: str) -> None:
    with pytest.raises(InvalidInput, match="AWS_REGION"):
        make_client(Settings(dynamodb_endpoint_url="", aws_region=region))


@pytest.mark.parametrize("status", [400, 500])
def test_the_client_itself_never_retries(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "5")
    monkeypatch.setenv("AWS_RETRY_MODE", "adaptive")
    for url in (LOOPBACKS[0], f"https://{AWS}"):
        settings = Settings(dynamodb_endpoint_url=url, aws_region="eu-west-1")
        assert len(requests_of(settings, status=status)) == 1


def test_a_local_database_is_called_without_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://proxy.example.com:3128")
    assert [config_of(Settings(dynamodb_endpoint_url=url)).proxies for url in LOOPBACKS] == [{}] * 3
    # For botocore, None means the proxy of the environment.
    elsewhere = Settings(dynamodb_endpoint_url="", aws_region="eu-west-1")
    assert config_of(elsewhere).proxies is None


def test_every_thread_has_a_connection() -> None:
    settings = Settings(events_write_threads=5)
    # 40 requests of the API run at the same time, and 16 threads count raw events or read shards.
    assert config_of(settings).max_pool_connections == 40 + 5 + 16


def config_of(settings: Settings) -> Any:
    """The client's configuration, which botocore's types do not describe."""
    return make_client(settings).meta.config
