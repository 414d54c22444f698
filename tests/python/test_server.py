"""Start and stop of a server, and its properties."""

from __future__ import annotations

import json
import socket
import threading
import urllib.request
import weakref
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stonechat import NotRunningError, PortInUseError, Server, ServerFailedError, ServerStats
from tests.python.raw_client import RawClient

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_message_goes_through() -> None:
    with Server() as server, RawClient(server.url) as client:
        client.subscribe("greet.*")
        client.publish("greet.joe", "hello")
        assert client.message() == ("greet.joe", "hello")


def test_the_defaults_are_loopback_and_any_free_port() -> None:
    with Server() as one, Server() as two:
        assert one.host == two.host == "127.0.0.1"
        assert one.port != two.port
        assert one.url == f"nats://127.0.0.1:{one.port}"
        assert one.monitor_url is None


def test_facts_agree_with_what_clients_are_told() -> None:
    with Server(server_name="ours") as server, RawClient(server.url) as client:
        assert client.info["server_id"] == server.server_id
        assert client.info["server_name"] == server.name == "ours"
        assert client.info["port"] == server.port
        assert "jetstream" not in client.info


def test_the_name_is_the_id_by_default() -> None:
    with Server() as server:
        assert server.name == server.server_id
        assert len(server.server_id) == 56


@pytest.mark.parametrize("port", [0, -1, None])
def test_a_free_port_can_be_asked_for_in_three_ways(port: int | None) -> None:
    with Server(port=port) as server:
        assert server.port > 0


def test_a_given_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    with Server(port=port) as server:
        assert server.port == port


def test_all_addresses_can_be_bound() -> None:
    with Server(host="0.0.0.0") as server, RawClient(f"nats://127.0.0.1:{server.port}") as client:
        assert client.info["port"] == server.port


def test_monitoring() -> None:
    with Server(monitor_port=0) as server:
        assert server.monitor_url is not None
        with urllib.request.urlopen(f"{server.monitor_url}/varz") as response:
            assert json.load(response)["server_id"] == server.server_id


def test_stats_count() -> None:
    with Server() as server, RawClient(server.url) as client:
        client.subscribe("a")
        client.publish("a", "12345")
        client.message()
        client.ping()
        stats = server.stats()
    assert isinstance(stats, ServerStats)
    assert (stats.connections, stats.total_connections) == (1, 1)
    assert (stats.in_msgs, stats.in_bytes, stats.out_msgs, stats.out_bytes) == (1, 5, 1, 5)
    assert stats.subscriptions >= 1
    assert stats.slow_consumers == 0
    assert stats.mem > 0


def test_varz_needs_no_monitoring_port() -> None:
    with Server(max_payload=4096) as server:
        varz = server.varz()
        assert varz["max_payload"] == 4096
        assert varz["port"] == server.port


def test_limits_reach_the_clients() -> None:
    with Server(max_payload=100) as server, RawClient(server.url) as client:
        assert client.info["max_payload"] == 100
        client.publish("a", "x" * 101)
        assert client.line() == "-ERR 'Maximum Payload Violation'"


def test_times_are_seconds_or_timedeltas() -> None:
    with Server(ping_interval=timedelta(seconds=30), write_deadline=2.5) as server:
        varz = server.varz()
        assert varz["ping_interval"] == 30_000_000_000
        assert varz["write_deadline"] == 2_500_000_000


def test_start_and_stop_are_idempotent() -> None:
    server = Server()
    server.stop()
    assert server.start() is server
    url = server.url
    assert server.start().url == url
    server.stop()
    server.stop()


def test_ready_tells_whether_it_runs() -> None:
    server = Server()
    seen = [server.ready]
    with server:
        seen.append(server.ready)
    seen.append(server.ready)
    assert seen == [False, True, False]


def test_a_stopped_server_knows_nothing_but_its_log() -> None:
    with Server() as server:
        pass
    for name in ("url", "host", "port", "monitor_url", "server_id", "name"):
        with pytest.raises(NotRunningError, match="call start"):
            getattr(server, name)
    for method in (server.stats, server.varz, server.reload, server.lame_duck, server.restart):
        with pytest.raises(NotRunningError):
            method()
    assert any("Server is ready" in line.message for line in server.logs)


def test_stop_frees_the_port_and_closes_the_clients() -> None:
    server = Server().start()
    port = server.port
    with RawClient(server.url) as client:
        server.stop()
        assert client.ends()
    with Server(port=port) as again:
        assert again.port == port


def test_a_server_can_start_again() -> None:
    server = Server()
    ids = set()
    for _ in range(3):
        with server, RawClient(server.url) as client:
            ids.add(client.info["server_id"])
    assert len(ids) == 3


def test_restart_keeps_the_ports() -> None:
    with Server(monitor_port=0) as server:
        before = (server.port, server.monitor_url, server.server_id)
        assert server.restart() is server
        assert (server.port, server.monitor_url) == before[:2]
        assert server.server_id != before[2]
        with RawClient(server.url) as client:
            assert client.info["server_id"] == server.server_id


def test_stop_from_another_thread_ends_wait() -> None:
    with Server() as server:
        assert server.wait(timeout=0) is False
        stopper = threading.Thread(target=server.stop)
        stopper.start()
        assert server.wait(timeout=timedelta(seconds=60)) is True
        stopper.join()


def test_many_threads_may_start_and_stop_one_server() -> None:
    server = Server()

    def churn() -> None:
        for _ in range(10):
            server.start()
            server.stop()

    threads = [threading.Thread(target=churn) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with server, RawClient(server.url):
        pass


def test_lame_duck_tells_the_clients_and_ends_the_server() -> None:
    with Server(lame_duck_grace_period=0.05, lame_duck_duration=0.1) as server:
        client = RawClient(server.url, protocol=1)
        server.lame_duck()
        # An INFO of the login may arrive first.
        while not json.loads(client.line().removeprefix("INFO ")).get("ldm"):
            pass
        assert server.wait(timeout=60)
        assert not server.ready
        client.close()


def test_servers_do_not_share_messages() -> None:
    with Server() as one, Server() as two, RawClient(one.url) as here, RawClient(two.url) as there:
        here.subscribe("a")
        there.subscribe("a")
        here.publish("a", "one")
        there.publish("a", "two")
        assert here.message() == ("a", "one")
        assert there.message() == ("a", "two")


def test_a_port_in_use() -> None:
    with Server() as server:
        with pytest.raises(PortInUseError, match=str(server.port)) as caught:
            Server(port=server.port).start()
        assert (caught.value.host, caught.value.port) == ("127.0.0.1", server.port)
        with RawClient(server.url):
            pass


def test_a_monitoring_port_in_use_leaves_nothing_behind() -> None:
    with Server(monitor_port=0) as server:
        assert server.monitor_url is not None
        taken = int(server.monitor_url.rpartition(":")[2])
        with socket.create_server(("127.0.0.1", 0)) as reserved:
            port = reserved.getsockname()[1]
        with pytest.raises(PortInUseError, match=str(taken)):
            Server(port=port, monitor_port=taken).start()
        with Server(port=port):
            pass


def test_an_unclosed_server_is_warned_of_and_stopped() -> None:
    server = Server().start()
    port = server.port
    gone = weakref.ref(server)
    with pytest.warns(ResourceWarning, match="unclosed server"):
        del server
    assert gone() is None
    with Server(port=port):
        pass


def test_a_server_can_not_be_copied_to_another_process() -> None:
    import pickle

    with pytest.raises(TypeError):
        pickle.dumps(Server())


def test_repr() -> None:
    server = Server()
    assert repr(server) == "<stonechat.Server not running>"
    with server:
        assert repr(server) == f"<stonechat.Server {server.url}>"


def test_store_dir_is_accepted(tmp_path: Path) -> None:
    with Server(store_dir=tmp_path) as server:
        assert server.ready
    assert list(tmp_path.iterdir()) == []


class Failed:
    """A fake handle whose server has ended because of an internal error."""

    fault = "JetStream panicked: injected"
    is_running = False

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)


def test_an_internal_error_is_raised() -> None:
    """Methods of a failed server raise the reason and release its resources; the server can start again."""
    server = Server()
    asks: list[Callable[[], object]] = [lambda: server.url, server.wait, server.varz, server.stop]
    for ask in asks:
        server.start()
        server._handle = Failed(server._handle)  # type: ignore[assignment]
        with pytest.raises(ServerFailedError, match="JetStream panicked: injected"):
            ask()
        with suppress(ServerFailedError):
            server.stop()
        assert not server.ready
    with server:
        assert server.url
