"""Messages of other clients, with headers that Python's client cannot send."""

from __future__ import annotations

import ctypes
from pathlib import Path

import confluent_kafka

from events.kafka.messages import Message, Record
from tests.stream.conftest import Topics

#: Values of rd_kafka_vtype_t (rdkafka.h).
_TOPIC, _PARTITION, _VALUE, _FLAGS, _HEADER, _END = 1, 3, 4, 7, 9, 0
_COPY, _PRODUCER = 2, 0


def send_with_header_name(topics: Topics, name: bytes, value: bytes) -> None:
    """Send a message with librdkafka itself, which accepts any bytes as the name of a header."""
    folder = Path(confluent_kafka.__file__).parent.with_name("confluent_kafka.libs")
    library = ctypes.CDLL(str(next(folder.glob("librdkafka*"))))
    library.rd_kafka_conf_new.restype = library.rd_kafka_new.restype = ctypes.c_void_p
    configuration = ctypes.c_void_p(library.rd_kafka_conf_new())
    servers = topics.cluster.bootstrap_servers.encode()
    library.rd_kafka_conf_set(configuration, b"bootstrap.servers", servers, None, ctypes.c_size_t())
    client = ctypes.c_void_p(
        library.rd_kafka_new(_PRODUCER, configuration, None, ctypes.c_size_t())
    )
    # fmt: off
    assert library.rd_kafka_producev(
        client,
        _TOPIC, topics.events.encode(),
        _PARTITION, ctypes.c_int32(0),
        _VALUE, value, ctypes.c_size_t(len(value)),
        _FLAGS, _COPY,
        _HEADER, name, b"x", ctypes.c_ssize_t(1),
        _END,
    ) == 0
    # fmt: on
    assert library.rd_kafka_flush(client, 30_000) == 0
    library.rd_kafka_destroy(client)


def test_a_header_name_that_is_not_utf_8_does_not_stop_reading(
    topics: Topics,
) -> None:
    # After so many messages CPython has specialized the calls that read them.
    usual = Record(topics.events, None, b"{}", (("name", b"value"),))
    topics.send([usual] * 100, partition=0)
    send_with_header_name(topics, b"\xff", b"{")
    *others, odd = topics.read(topics.events)
    assert [other.headers for other in others] == [usual.headers] * 100
    assert odd == Message(topics.events, 0, 100, odd.timestamp, None, b"{", ())
