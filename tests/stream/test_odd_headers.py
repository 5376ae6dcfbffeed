"""Messages that another client sent, with what Python's own client cannot even send."""

from __future__ import annotations

import ctypes
from pathlib import Path

import confluent_kafka

from events.config import Settings
from events.kafka.messages import Message, Record
from tests.stream.conftest import Topics

#: Of rd_kafka_vtype_t (rdkafka.h).
_TOPIC, _PARTITION, _VALUE, _FLAGS, _HEADER, _END = 1, 3, 4, 7, 9, 0
_COPY, _PRODUCER = 2, 0


def send_with_header_name(settings: Settings, name: bytes, value: bytes) -> None:
    """Send a message by the library in C, which takes any bytes as the name of a header."""
    folder = Path(confluent_kafka.__file__).parent.with_name("confluent_kafka.libs")
    library = ctypes.CDLL(str(next(folder.glob("librdkafka*"))))
    library.rd_kafka_conf_new.restype = library.rd_kafka_new.restype = ctypes.c_void_p
    configuration = ctypes.c_void_p(library.rd_kafka_conf_new())
    servers = settings.events_kafka_bootstrap_servers.encode()
    library.rd_kafka_conf_set(configuration, b"bootstrap.servers", servers, None, ctypes.c_size_t())
    client = ctypes.c_void_p(
        library.rd_kafka_new(_PRODUCER, configuration, None, ctypes.c_size_t())
    )
    # fmt: off
    assert library.rd_kafka_producev(
        client,
        _TOPIC, settings.events_kafka_topic.encode(),
        _PARTITION, ctypes.c_int32(0),
        _VALUE, value, ctypes.c_size_t(len(value)),
        _FLAGS, _COPY,
        _HEADER, name, b"x", ctypes.c_ssize_t(1),
        _END,
    ) == 0
    # fmt: on
    assert library.rd_kafka_flush(client, 30_000) == 0
    library.rd_kafka_destroy(client)


def test_a_message_with_a_header_name_that_is_no_utf_8_is_read_without_its_headers(
    topics: Topics,
) -> None:
    # After so many of others the interpreter has specialized what reads them.
    usual = Record(topics.events, None, b"{}", (("name", b"value"),))
    topics.send([usual] * 100, partition=0)
    send_with_header_name(topics.settings, b"\xff", b"{")
    *others, found = topics.read(topics.events)
    assert [each.headers for each in others] == [usual.headers] * 100
    assert found == Message(topics.events, 0, 100, found.timestamp, None, b"{", ())
