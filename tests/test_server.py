"""What gunicorn is given beyond its own: patience with clients, a place for heartbeats, a quiet log.

How it serves and ends is told by long/test_serve.py and long/test_servers.py, with real processes.
"""

import logging
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gunicorn.config import Config

from graph import server


@pytest.fixture
def connection() -> Iterator[server._Connection]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield server._Connection(Config(), ours, ("127.0.0.1", 1), ("127.0.0.1", 2))


def test_a_client_may_be_silent_for_a_minute_in_each_request_of_its_connection(connection):
    for _ in range(2):  # gunicorn takes the bound away before each
        connection.sock.setblocking(True)
        connection.init()
        assert connection.sock.gettimeout() == 60


def test_a_client_that_falls_silent_is_no_traceback_in_the_log():
    def passes(error: Exception) -> bool:
        try:
            raise error
        except Exception:
            record = logging.LogRecord("gunicorn.error", 40, "", 0, "failed", None, sys.exc_info())
        return server._is_no_silence(record)

    assert not passes(TimeoutError())
    assert passes(ConnectionResetError())
    assert server._is_no_silence(logging.LogRecord("gunicorn.error", 40, "", 0, "failed", None, None))


def test_heartbeats_are_in_memory_where_there_is_such_a_folder(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(server, "_MEMORY", str(tmp_path))
    assert server._heartbeat_folder() == str(tmp_path)
    monkeypatch.setattr(server, "_MEMORY", str(tmp_path / "none"))
    assert server._heartbeat_folder() is None


def test_an_address_of_six_has_brackets():
    assert server.address("127.0.0.1", 8000) == "http://127.0.0.1:8000"
    assert server.address("::1", 8000) == "http://[::1]:8000"
