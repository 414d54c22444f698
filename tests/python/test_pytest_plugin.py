"""The pytest plugin, in pytest runs of its own."""

from __future__ import annotations

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
    """A folder for tests, away from the configuration of this project."""
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
            assert nats_url == {shared}.url

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
