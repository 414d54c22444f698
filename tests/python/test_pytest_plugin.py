"""The pytest plugin, tested in separate pytest runs."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

ASYNC_TEST = """
import pytest

@pytest.mark.{marker}
async def test_client(nats_client):
    subscription = await nats_client.subscribe("a")
    await nats_client.publish("a", b"1")
    assert (await subscription.next_msg(timeout=10)).data == b"1"
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder for tests that does not use the configuration of this project."""
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    return pytester


def passes(project: pytest.Pytester, source: str, *args: str, passed: int = 1) -> pytest.RunResult:
    project.makepyfile(textwrap.dedent(source))
    result = project.runpytest_subprocess(*args)
    assert result.parseoutcomes().get("passed") == passed
    assert set(result.parseoutcomes()) <= {"passed", "deselected"}
    return result


# Servers


def test_each_test_has_its_own_server(project: pytest.Pytester) -> None:
    passes(
        project,
        """
        seen = []

        def test_one(nats_server):
            assert nats_server.ready
            seen.append(nats_server)

        def test_two(nats_server, nats_url):
            assert nats_url == nats_server.url
            assert not seen[0].ready
            assert nats_server is not seen[0]
        """,
        passed=2,
    )


def test_shared_servers(project: pytest.Pytester) -> None:
    source = """
    import pytest

    def test_one(nats_server_module, nats_server_session, request):
        request.config.servers.append((nats_server_module, nats_server_session))

    def test_two(nats_server_module, nats_server_session, request):
        assert request.config.servers[-1] == (nats_server_module, nats_server_session)
        assert nats_server_module is not nats_server_session
    """
    project.makeconftest(
        """
        def pytest_configure(config):
            config.servers = []

        def pytest_sessionfinish(session):
            (first, one), (second, two) = session.config.servers
            assert one is two and first is not second
            assert not first.ready and not second.ready
        """
    )
    project.makepyfile(test_a=textwrap.dedent(source), test_b=textwrap.dedent(source))
    project.runpytest_subprocess().assert_outcomes(passed=4)


@pytest.mark.parametrize("shared", ["nats_server_module", "nats_server_session"])
def test_the_url_is_that_of_the_server_that_the_test_names(project: pytest.Pytester, shared: str) -> None:
    passes(
        project,
        f"""
        def test_shared(nats_url, {shared}):
            assert nats_url.endswith({shared}.url.removeprefix("nats:/").replace("/", "@"))

        def test_private_wins({shared}, nats_server, nats_url):
            assert nats_url == nats_server.url

        def test_private_by_default(nats_url, request):
            assert nats_url == request.getfixturevalue("nats_server").url
        """,
        passed=3,
    )


def test_the_factory(project: pytest.Pytester) -> None:
    passes(
        project,
        """
        started = []

        def test_start(nats_server_factory):
            one = nats_server_factory(max_payload=100)
            two = nats_server_factory(token="t")
            assert one.varz()["max_payload"] == 100
            assert two.credentials == {"token": "t"}
            started.extend([one, two])

        def test_stopped():
            assert not any(server.ready for server in started)
        """,
        passed=2,
    )


def test_the_marker(project: pytest.Pytester) -> None:
    passes(
        project,
        """
        import pytest

        pytestmark = pytest.mark.nats_server(max_payload=100, server_name="module")

        @pytest.mark.nats_server(server_name="test")
        def test_nearest_wins(nats_server):
            assert nats_server.varz()["max_payload"] == 100
            assert nats_server.name == "test"

        def test_calls_win(nats_server_factory):
            assert nats_server_factory(max_payload=50).varz()["max_payload"] == 50
        """,
        "--strict-markers",
        passed=2,
    )


def test_overriding_the_options(project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="session")
        def nats_server_options(nats_server_options):
            return {**nats_server_options, "server_name": "overridden"}
        """
    )
    passes(
        project,
        """
        def test_all(nats_server, nats_server_module, nats_server_session, nats_server_factory):
            servers = [nats_server, nats_server_module, nats_server_session, nats_server_factory()]
            assert [server.name for server in servers] == ["overridden"] * 4
        """,
    )


# Options


def test_options_of_the_command_line(project: pytest.Pytester) -> None:
    Path(project.path / "nats.conf").write_text("max_payload: 100\nport: 4222\n")
    passes(
        project,
        """
        def test_options(nats_server):
            assert nats_server.varz()["max_payload"] == 100
            assert nats_server.port != 4222
            assert nats_server.monitor_url is not None
        """,
        "--nats-config=nats.conf",
        "--nats-monitor-port=0",
    )


def test_the_command_line_can_ask_for_details(project: pytest.Pytester) -> None:
    source = """
        import socket

        def test_levels(nats_server):
            with socket.create_connection((nats_server.host, nats_server.port)) as link:
                link.sendall(b"CONNECT {}\\r\\nPING\\r\\n")
                while b"PONG" not in link.recv(4096):
                    pass
            assert {str(line)[:5] for line in nats_server.logs} >= {"[DBG]", "[TRC]"}
        """
    passes(project, source, "--nats-debug", "--nats-trace")


def test_options_of_the_configuration(project: pytest.Pytester) -> None:
    folder = project.mkdir("deeper")
    Path(project.path / "nats.conf").write_text("server_name: configured\n")
    project.makeini("[pytest]\nnats_config = nats.conf\nnats_trace = true\nnats_host = 127.0.0.1\n")
    (folder / "test_it.py").write_text(
        textwrap.dedent(
            """
            import socket

            def test_options(nats_server):
                assert nats_server.name == "configured"
                with socket.create_connection((nats_server.host, nats_server.port)) as link:
                    link.sendall(b"CONNECT {}\\r\\nPING\\r\\n")
                    while b"PONG" not in link.recv(4096):
                        pass
                assert any("[TRC]" in str(line) for line in nats_server.logs)
            """
        )
    )
    project.runpytest_subprocess("deeper").assert_outcomes(passed=1)


def test_a_fixed_port(project: pytest.Pytester) -> None:
    from stonechat import Server

    with Server() as server:
        port = server.port
    passes(project, f"def test_port(nats_server):\n    assert nats_server.port == {port}\n", f"--nats-port={port}")


def test_a_fixed_port_and_xdist_exclude_each_other(project: pytest.Pytester) -> None:
    project.makepyfile("def test_nothing():\n    pass\n")
    result = project.runpytest_subprocess("--nats-port=4222", "-n", "2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--nats-port can't be used with several pytest-xdist workers*"])


def test_the_options_are_in_the_help(project: pytest.Pytester) -> None:
    result = project.runpytest_subprocess("--help")
    result.stdout.fnmatch_lines(["NATS servers for tests (stonechat):", "*--nats-config=FILE*", "*nats_config*"])
    result = project.runpytest_subprocess("--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.nats_server(*"])


def test_xdist(project: pytest.Pytester) -> None:
    passes(
        project,
        """
        import pytest

        @pytest.mark.parametrize("number", range(12))
        def test_many(nats_server, nats_server_session, number):
            assert nats_server.ready and nats_server_session.ready
        """,
        "-n",
        "3",
        passed=12,
    )


# Clients


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_a_client_with_pytest_asyncio(project: pytest.Pytester, mode: str) -> None:
    passes(project, ASYNC_TEST.format(marker="asyncio"), f"--asyncio-mode={mode}")


@pytest.mark.parametrize("scope", ["function", "class", "module", "package", "session"])
def test_a_client_in_a_loop_of_any_scope(project: pytest.Pytester, scope: str) -> None:
    passes(project, ASYNC_TEST.format(marker=f"asyncio(loop_scope='{scope}')"), "-W", "error")


def test_a_client_in_the_default_loop_scope(project: pytest.Pytester) -> None:
    passes(project, ASYNC_TEST.format(marker="asyncio"), "-o", "asyncio_default_test_loop_scope=session")


def test_a_client_with_anyio(project: pytest.Pytester) -> None:
    passes(project, ASYNC_TEST.format(marker="anyio"), "-k", "[asyncio]", "-W", "error")


def test_a_client_with_anyio_alone(project: pytest.Pytester) -> None:
    project.makeini("[pytest]")
    source = "import pytest\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio', {'debug': True}\n"
    passes(project, source + ASYNC_TEST.format(marker="anyio"), "-p", "no:asyncio", "-W", "error")


def test_a_client_on_trio_is_skipped(project: pytest.Pytester) -> None:
    project.makepyfile(ASYNC_TEST.format(marker="anyio"))
    result = project.runpytest_subprocess("-k", "[trio]", "-rs")
    result.assert_outcomes(skipped=1, deselected=1)
    result.stdout.fnmatch_lines(["*nats-py runs on asyncio, not on trio*"])


def test_a_client_logs_in(project: pytest.Pytester) -> None:
    for options in ("user='joe', password='pw'", "token='t'"):
        source = ASYNC_TEST.replace("@pytest", f"@pytest.mark.nats_server({options})\n@pytest")
        passes(project, source.format(marker="asyncio"))


def test_a_client_of_a_shared_server(project: pytest.Pytester) -> None:
    passes(
        project,
        """
        import pytest

        @pytest.mark.asyncio
        async def test_client(nats_client, nats_server_session):
            assert nats_client.connected_url.port == nats_server_session.port
            assert nats_server_session.stats().connections == 1

        def test_closed(nats_server_session):
            while nats_server_session.stats().connections:
                pass
        """,
        passed=2,
    )


def test_options_of_the_client(project: pytest.Pytester) -> None:
    passes(
        project,
        """
        import pytest

        @pytest.fixture
        def nats_client_options():
            return {"name": "mine"}

        @pytest.mark.asyncio
        async def test_client(nats_client):
            assert nats_client.options["name"] == "mine"
        """,
    )


def test_without_nats_py(project: pytest.Pytester) -> None:
    project.makeconftest("import sys\nsys.modules['nats'] = None\n")
    project.makepyfile(ASYNC_TEST.format(marker="asyncio"))
    result = project.runpytest_subprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the fixture nats_client needs nats-py: pip install nats-py*"])


def test_without_an_event_loop(project: pytest.Pytester) -> None:
    project.makepyfile("def test_client(nats_client):\n    pass\n")
    result = project.runpytest_subprocess("-p", "no:asyncio", "-p", "no:anyio")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*needs an event loop: install pytest-asyncio*"])


# Reports

FAILING = """
def test_fails(nats_server):
    assert nats_server.port == 0
"""


def test_the_report_of_a_failure_has_the_log(project: pytest.Pytester) -> None:
    project.makepyfile(FAILING)
    result = project.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*NATS server log (nats_server, call)*", "*[[]INF[]] Server is ready*"])


def test_the_report_of_a_failure_has_the_log_with_xdist(project: pytest.Pytester) -> None:
    project.makepyfile(FAILING)
    result = project.runpytest_subprocess("-n", "1")
    result.stdout.fnmatch_lines(["*NATS server log (nats_server, call)*", "*[[]INF[]] Server is ready*"])


def test_the_report_of_a_success_has_no_log(project: pytest.Pytester) -> None:
    result = passes(project, "def test_passes(nats_server):\n    pass\n", "-rA")
    result.stdout.no_fnmatch_line("*NATS server log*")


def test_the_log_in_the_report_can_be_short_or_left_out(project: pytest.Pytester) -> None:
    project.makepyfile(FAILING)
    result = project.runpytest_subprocess("--nats-log-lines=1")
    result.stdout.fnmatch_lines(["*NATS server log (nats_server, call)*", "*[[]INF[]] *"])
    result.stdout.no_fnmatch_line("*Listening for client connections*")
    project.runpytest_subprocess("--nats-log-lines=0").stdout.no_fnmatch_line("*NATS server log*")
    result = project.runpytest_subprocess("-o", "nats_log_lines=0")
    result.stdout.no_fnmatch_line("*NATS server log*")


def test_a_failure_in_a_fixture_has_the_log_too(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.fixture
        def broken(nats_server):
            raise RuntimeError

        def test_it(broken):
            pass
        """
    )
    result = project.runpytest_subprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*NATS server log (nats_server, setup)*"])


def test_the_log_of_a_shared_server_is_that_of_the_test(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import socket

        def connect(server, name):
            with socket.create_connection((server.host, server.port)) as link:
                link.sendall(b"CONNECT {}\\r\\nPUB %s 0\\r\\n\\r\\nPING\\r\\n" % name)
                while b"PONG" not in link.recv(4096):
                    pass

        def test_passes(nats_server_session):
            connect(nats_server_session, b"first.test")

        def test_fails(nats_server_session):
            connect(nats_server_session, b"second.test")
            raise RuntimeError

        def test_fails_without_it():
            raise RuntimeError
        """
    )
    result = project.runpytest_subprocess("--nats-trace")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["*NATS server log (nats_server_session, call)*", "*PUB second.test*"])
    result.stdout.no_fnmatch_line("*PUB first.test*")
    assert result.stdout.str().count("NATS server log") == 1


def test_all_servers_of_a_test_are_reported(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        def test_fails(nats_server_factory, nats_server_module):
            nats_server_factory()
            nats_server_factory()
            raise RuntimeError
        """
    )
    result = project.runpytest_subprocess()
    for name in ("nats_server", "nats_server 2", "nats_server_module"):
        result.stdout.fnmatch_lines([f"*NATS server log ({name}, call)*"])


def report_of(project: pytest.Pytester, source: str, *args: str) -> str:
    project.makepyfile(textwrap.dedent(source))
    result = project.runpytest_subprocess(*args)
    assert result.parseoutcomes().keys() <= {"failed", "errors", "passed", "warnings", "warning"}
    return result.stdout.str()


def test_the_report_folds_a_start_and_tells_when(project: pytest.Pytester) -> None:
    report = report_of(project, FAILING)
    assert re.search(
        r"^\+ +\d+\.\d{3} s  \[INF\] Server is ready \(\d+ lines of its start are left out\)$", report, re.M
    )
    assert "Listening for client connections" not in report


MESSAGES = """
    import pytest

    @pytest.mark.asyncio
    async def test_fails(nats_client, nats_server):
        await nats_client.publish("orders.early", b"1")
        worker = await nats_server.connect(name="worker")

        async def answer(message):
            await message.respond(b"done")

        await worker.subscribe("orders.*", cb=answer)
        await nats_server.wait_for_subscription_async("orders.*")
        await nats_client.request("orders.new", b"2")
        await worker.close()
        assert False
    """


def test_the_report_tells_the_way_of_each_message(project: pytest.Pytester) -> None:
    report = report_of(project, MESSAGES)
    for line in (
        "nats_client -> orders.early '1' -> nobody",
        "worker listens to orders.*",
        "nats_client -> orders.new '2' -> worker",
        "worker -> (answer to orders.new) 'done' -> nats_client",
        "nobody heard: orders.early",
    ):
        assert line in report, report
    assert "NATS messages (nats_server, call)" in report
    assert "[TRC]" not in report


@pytest.mark.parametrize("args", [("--nats-no-timeline",), ("-o", "nats_timeline=false"), ("--nats-log-lines=0",)])
def test_the_messages_can_be_left_out(project: pytest.Pytester, args: tuple[str, ...]) -> None:
    assert "NATS messages" not in report_of(project, MESSAGES, *args)


def test_the_report_of_a_shared_server_has_the_messages_of_the_test(project: pytest.Pytester) -> None:
    source = """
        import pytest

        @pytest.mark.asyncio
        @pytest.mark.parametrize("name", ["first", "second"])
        async def test_fails(nats_client, nats_server_session, name):
            await nats_client.publish(name)
            await nats_client.flush()
            await nats_client.flush()  # the PING of nats-py's first one overtakes the PUB
            assert name == "first"
        """
    report = report_of(project, source)
    assert "nats_client -> second" in report
    assert "nats_client -> first" not in report


# Logins


@pytest.mark.parametrize("options", ["user='a', password='b'", "token='t'", "users={'a': 'b', 'c': 'd'}"])
def test_fixtures_log_in_with_the_credentials_of_the_marker(project: pytest.Pytester, options: str) -> None:
    passes(
        project,
        f"""
        import nats, pytest

        @pytest.mark.asyncio
        @pytest.mark.nats_server({options})
        async def test_login(nats_client, nats_url):
            await nats_client.flush()
            other = await nats.connect(nats_url, allow_reconnect=False)
            await other.close()
        """,
    )


def test_a_refused_login_fails_at_once_with_a_sentence(project: pytest.Pytester) -> None:
    source = """
        import pytest

        @pytest.fixture
        def nats_client_options():
            return {"user": "joe", "password": "wrong"}

        @pytest.mark.asyncio
        @pytest.mark.nats_server(user="joe", password="right")
        async def test_login(nats_client):
            pass
        """
    project.makepyfile(textwrap.dedent(source))
    # nats-py itself would make 60 attempts of two seconds each.
    result = project.runpytest_subprocess(timeout=60)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["nats_client: the server at nats://127.0.0.1:* refuses the login as user 'joe' *"])
    assert "Traceback" not in result.stdout.str()


# Accounts of tests


def test_on_shared_servers_each_test_has_an_account(project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="session")
        def nats_server_options(nats_server_options):
            return {**nats_server_options, "jetstream": True}
        """
    )
    source = """
        import nats, pytest

        @pytest.mark.asyncio
        @pytest.mark.parametrize("turn", range(3))
        async def test_it(nats_js, nats_client, nats_url, nats_server_session, turn):
            assert await nats_js.streams_info() == []
            await nats_js.add_stream(name="ORDERS", subjects=["orders"])
            mine = await nats_client.subscribe("greet")
            app = await nats.connect(nats_url)
            other = await nats.connect(nats_server_session.url)
            await other.publish("greet", b"from another account")
            await other.close()
            await app.publish("greet", b"from this one")
            assert (await mine.next_msg()).data == b"from this one"
            await app.close()
        """
    passes(project, source, passed=3)


def test_tests_can_share_the_account_of_a_shared_server(project: pytest.Pytester) -> None:
    source = """
        def test_it(nats_url, nats_server_session):
            assert nats_url == nats_server_session.url
        """
    passes(project, source, "-o", "nats_accounts=shared")


def test_a_shared_server_with_a_configuration_keeps_its_own_accounts(project: pytest.Pytester) -> None:
    Path(project.path / "nats.conf").write_text("server_name: mine\n")
    source = """
        def test_it(nats_url, nats_server_session):
            assert nats_url == nats_server_session.url
            assert nats_server_session.name == "mine"
        """
    passes(project, source, "--nats-config=nats.conf")


# Fixtures with user-defined names


def test_fixtures_of_ones_own(project: pytest.Pytester) -> None:
    source = """
        import pytest
        from stonechat.pytest_plugin import client_fixture, server_fixture

        orders_server = server_fixture(scope="module", server_name="orders", token="t")
        billing_server = server_fixture(server_name="billing")
        orders_client = client_fixture("orders_server", name="orders_client")

        @pytest.mark.asyncio
        async def test_it(orders_client, orders_server, billing_server):
            assert (orders_server.name, billing_server.name) == ("orders", "billing")
            await orders_client.publish("orders.new")
            await orders_client.flush()
            assert orders_server.published("orders.*")[0].publisher.name == "orders_client"
            assert False
        """
    report = report_of(project, source)
    assert "NATS messages (orders_server, call)" in report
    assert "NATS server log (billing_server, call)" in report


# Buckets and streams


def test_buckets_and_streams_without_a_client(project: pytest.Pytester) -> None:
    passes(
        project,
        """
        import pytest

        @pytest.mark.parametrize("turn", [1, 2])
        def test_each_is_empty(nats_kv, nats_object_store, nats_stream, turn):
            assert (len(nats_kv), len(nats_object_store), len(nats_stream)) == (0, 0, 0)
            nats_kv["a"] = b"1"
            nats_object_store.put("a", b"1")
            nats_stream.publish(f"{nats_stream.name}.a", b"1")
            assert nats_stream.wait_for(1)[0].data == b"1"

        @pytest.mark.nats_kv(history=4)
        @pytest.mark.nats_object_store(description="Some")
        @pytest.mark.nats_stream(subjects=["orders.*"], max_msgs=2)
        def test_options(nats_kv, nats_object_store, nats_stream):
            assert nats_kv.info().history == 4
            assert nats_object_store.store_info().description == "Some"
            assert nats_stream.info().config["max_msgs"] == 2

        @pytest.mark.nats_server(user="joe", password="secret")
        def test_login(nats_kv):
            nats_kv["a"] = b"1"

        def test_stopped(nats_server, nats_kv):
            nats_server.stop()

        def test_dropped(nats_kv, nats_stream):
            nats_kv.drop()
            nats_stream.drop()
        """,
        passed=6,
    )


@pytest.mark.parametrize("accounts", ["test", "shared"])
def test_buckets_of_shared_servers(project: pytest.Pytester, accounts: str) -> None:
    project.makeini(f"[pytest]\nasyncio_default_fixture_loop_scope = function\nnats_accounts = {accounts}\n")
    project.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="session")
        def nats_server_options(nats_server_options):
            return {**nats_server_options, "jetstream": True}
        """
    )
    passes(
        project,
        """
        import pytest

        @pytest.mark.parametrize("turn", [1, 2])
        def test_each_is_empty(nats_kv, nats_stream, nats_server_session, turn):
            assert (len(nats_kv), len(nats_stream)) == (0, 0)
            nats_kv["a"] = b"1"
            nats_stream.publish(f"{nats_stream.name}.a", b"1")

        def test_nothing_stays(nats_kv, nats_server_session):
            details = nats_server_session.jsz(streams=True)["account_details"]
            names = [one["name"] for account in details for one in account.get("stream_detail") or []]
            assert names == [f"KV_{nats_kv.name}"]
        """,
        passed=3,
    )
