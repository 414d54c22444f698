"""Fixtures of the labs: the server that a lab talks to, and the runner of its README."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from labkit import LabRun, LabServer, Section, choose_kind, start_server
from labkit.runner import SectionRunner

_LEFT_OUT = "lab step left out"


def pytest_report_header() -> str:
    """Say which server the labs run on."""
    return choose_kind()[1]


@pytest.fixture(scope="module")
def lab_server(request: pytest.FixtureRequest) -> Iterator[LabServer]:
    """The lab's server: Docker Compose, else the in-process one (see `labkit`)."""
    server = start_server(request.path.parent)
    yield server
    server.close()


@pytest.fixture
def lab_run(
    lab_server: LabServer,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> LabRun:
    """Run one README section; steps that can't run here are reported, never hidden."""

    def run(section: Section) -> None:
        runner = SectionRunner(lab_server, tmp_path)
        ran = runner.run(section)
        for sentence in runner.left_out:
            record_property(_LEFT_OUT, sentence)
        if not ran:
            pytest.skip("; ".join(runner.left_out))

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the steps that were left out."""
    left_out = sorted(
        str(value)
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
        if name == _LEFT_OUT
    )
    if left_out:
        terminalreporter.section("lab steps left out here")
        for sentence in left_out:
            terminalreporter.write_line(sentence)
