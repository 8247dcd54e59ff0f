"""The filesystem broker: no reader ever sees half a message, each message is taken once."""

from __future__ import annotations

import threading
import uuid

import pytest
from kombu import Connection

from openledger_site.core.broker import Transport

MESSAGES = 300


@pytest.fixture
def connect(tmp_path):
    folder = tmp_path / "messages"
    folder.mkdir()
    options = {
        "data_folder_in": str(folder),
        "data_folder_out": str(folder),
        "control_folder": str(tmp_path / "control"),
    }
    return lambda: Connection("filesystem://", transport_options=options)


def test_the_sites_connections_use_it(connect):
    with connect() as connection:
        assert isinstance(connection.transport, Transport)


def test_messages_arrive_once_each_while_they_are_being_written(connect):
    seen, stop, name = [], threading.Event(), f"work-{uuid.uuid4()}"
    with connect() as connection:
        connection.SimpleQueue(name).close()  # declared before anybody reads or writes

    def read():
        with connect() as connection, connection.SimpleQueue(name) as queue:
            while not (stop.is_set() and not queue.qsize()):
                try:
                    message = queue.get(block=False)
                except queue.Empty:
                    continue
                seen.append(message.payload)
                message.ack()

    readers = [threading.Thread(target=read) for _ in range(3)]
    [reader.start() for reader in readers]
    with connect() as connection, connection.SimpleQueue(name) as queue:
        for number in range(MESSAGES):
            queue.put({"number": number, "text": "x" * 5000})
    stop.set()
    [reader.join(60) for reader in readers]
    assert sorted(item["number"] for item in seen) == list(range(MESSAGES))


def test_nothing_is_left_in_the_folder(connect, tmp_path):
    # kombu remembers declared queues for the whole process, so each test has its own.
    with connect() as connection, connection.SimpleQueue(f"errands-{uuid.uuid4()}") as queue:
        queue.put({"number": 1})
        queue.get(timeout=5).ack()
    assert list((tmp_path / "messages").iterdir()) == []
