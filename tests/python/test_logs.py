"""Log lines: those sent to `logging`, and those kept by the server."""

from __future__ import annotations

import logging
import threading

import pytest

import stonechat
from stonechat import LogLine, Server
from stonechat._stonechat import LogQueue
from tests.python.raw_client import RawClient


def test_lines_reach_logging(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "stonechat"), Server(server_name="ours") as server:
        port = server.port
    ready = [record for record in caplog.records if record.getMessage() == "Server is ready"]
    assert len(ready) == 1
    assert (ready[0].name, ready[0].levelno, ready[0].server) == ("stonechat", logging.INFO, "ours")  # type: ignore[attr-defined]
    assert f"Listening for client connections on 127.0.0.1:{port}" in caplog.text


def test_the_time_of_a_record_is_that_of_the_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "stonechat"), Server() as server:
        line = next(line for line in server.logs if line.message == "Server is ready")
    record = next(record for record in caplog.records if record.getMessage() == "Server is ready")
    assert record.created == line.time


def test_levels(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(stonechat.TRACE, "stonechat"), Server(debug=True, trace=True) as server:
        with RawClient(server.url) as client:
            client.publish("traced.subject", "x")
            client.ping()
        kept = {line.level for line in server.logs}
    assert {stonechat.TRACE, logging.DEBUG, logging.INFO} <= kept
    traced = [record for record in caplog.records if "traced.subject" in record.getMessage()]
    assert {(record.levelno, record.levelname) for record in traced} == {(5, "TRACE")}


def test_servers_without_debug_say_little() -> None:
    with Server() as server:
        with RawClient(server.url):
            pass
        assert {line.level for line in server.logs} <= {logging.INFO, logging.WARNING}


def test_lines_of_several_servers_are_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "stonechat"), Server(server_name="a"), Server(server_name="b"):
        pass
    servers = [record.server for record in caplog.records if record.getMessage() == "Server is ready"]  # type: ignore[attr-defined]
    assert servers == ["a", "b"]


def test_each_server_keeps_its_own_lines() -> None:
    with Server() as one, Server() as two:
        assert any(str(one.port) in line.message for line in one.logs)
        assert not any(str(two.port) in line.message for line in one.logs)


def test_at_most_a_thousand_lines_are_kept() -> None:
    with Server(trace=True) as server, RawClient(server.url) as client:
        for number in range(1100):
            client.publish(f"n.{number}", "")
        client.ping()
        lines = server.logs
        assert len(lines) == 1000
        assert any("n.1099" in line.message for line in lines)
        assert not any("n.0]" in line.message for line in lines)


def test_a_line_reads_like_the_server_s_own() -> None:
    assert str(LogLine(0.0, logging.INFO, "Server is ready")) == "[INF] Server is ready"
    assert str(LogLine(0.0, stonechat.TRACE, "<<- [PING]")) == "[TRC] <<- [PING]"


def test_a_handler_may_use_the_server_and_even_stop_it() -> None:
    done = threading.Event()

    class Stopper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == "Server is ready":
                server.stop()
                done.set()

    logger = logging.getLogger("stonechat")
    handler = Stopper()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        server = Server()
        server.start()
        assert done.wait(10)
        assert not server.ready
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def test_a_broken_filter_does_not_end_the_logs(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: logging.LogRecord) -> bool:
        raise RuntimeError("broken filter")

    logger = logging.getLogger("stonechat")
    logger.addFilter(broken)
    try:
        with caplog.at_level(logging.INFO, "stonechat"), Server():
            pass
    finally:
        logger.removeFilter(broken)
    assert "broken filter" in capsys.readouterr().err
    with caplog.at_level(logging.INFO, "stonechat"), Server():
        pass
    assert "Server is ready" in caplog.text


def test_one_thread_serves_all_servers() -> None:
    with Server(), Server(), Server():
        names = [thread.name for thread in threading.enumerate()]
        assert names.count("stonechat-log") == 1


def test_a_closed_queue_gives_what_it_has_and_then_ends() -> None:
    queue = LogQueue(4)
    queue.close()
    assert queue.take(10) is None
    assert queue.flush(0.0) is True
