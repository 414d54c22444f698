"""Runs the commands of a README section, terminal by terminal, and compares their output."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from labkit import match, servers
from labkit.readme import Block, Command, Section
from labkit.servers import LabServer
from labkit.terminal import PortMap, Process

STEP_SECONDS = 30.0
README_PORT = 4222
README_MONITOR_PORT = 8222

LabRun = Callable[[Section], None]
"""What the fixture `lab_run` is."""


class StepFailedError(AssertionError):
    """A command of the README did not do what the README says."""


@dataclass
class _Terminal:
    """A window: the last command in it, and how much of its output the README has told."""

    block: Block
    process: Process
    ports: PortMap
    told: int = 0
    open_end: bool = False
    done: bool = False
    """Whether its end was seen, with all its output and its exit code."""

    def rest(self, text: str) -> str:
        return self.ports.to_readme(text)[self.told :]


@dataclass
class SectionRunner:
    """Runs one section on one server."""

    server: LabServer
    bin_folder: Path
    """A folder for the commands `python` and `stonechat-server`, first on PATH."""
    left_out: list[str] = field(default_factory=list)
    """What was not run, and why; a sentence each."""
    _terminals: dict[str, _Terminal] = field(default_factory=dict)
    _ran: int = 0

    def run(self, section: Section) -> bool:
        """Run all of it; False when nothing of it can run here."""
        self.server.start()
        _write_commands(self.bin_folder)
        try:
            for block in section.blocks:
                self._run_block(block)
            for name, terminal in self._terminals.items():
                if not terminal.done:
                    raise StepFailedError(
                        f"{terminal.block.where}: the section leaves it running in terminal "
                        f"{name}; end it with ^C, or tell that it `ends`"
                    )
        finally:
            for terminal in self._terminals.values():
                terminal.process.close()
            self._terminals.clear()
        return self._ran > 0

    def _run_block(self, block: Block) -> None:
        missing = [reason for need in block.needs if (reason := self._missing(need))]
        if missing:
            self.left_out.append(f"{block.path.parent.name}:{block.line}: {', '.join(missing)}")
            return
        commands = block.commands()
        self._ran += len(commands)
        action = block.value("server")
        if action and self.server.kind != "docker":
            self._act(block, action)
            return
        for command in commands:
            self._run_command(block, command, last=command is commands[-1])
        if action:
            self.server.running = action == "restart"

    def _act(self, block: Block, action: str) -> None:
        if action == "kill":
            self.server.kill()
        elif action == "restart":
            self.server.restart()
        else:
            raise StepFailedError(f"{block.where}: server={action} means nothing")

    def _run_command(self, block: Block, command: Command, *, last: bool) -> None:
        name = block.value("terminal", "main")
        terminal = self._terminals.get(name)
        if command.text:
            if terminal and not terminal.process.ended:
                raise StepFailedError(f"{block.where}: {terminal.block.where} still runs there")
            terminal = self._terminals[name] = self._start(block, command.text)
        elif terminal is None:
            raise StepFailedError(f"{block.where}: nothing was started in terminal {name}")

        interrupted = command.after_interrupt is not None
        # Output without a command belongs to one that goes on, unless the fence says `ends`.
        keeps_running = last and (block.flag("running") or not command.text)
        keeps_running = keeps_running and not block.flag("ends")
        if interrupted or keeps_running:
            self._expect(terminal, block, command.expected)
        if interrupted:
            terminal.process.interrupt()
        if interrupted or not keeps_running:
            lines = command.after_interrupt if interrupted else command.expected
            self._expect_end(terminal, block, lines or (), last=last)

    def _start(self, block: Block, text: str) -> _Terminal:
        ports = PortMap({README_PORT: self.server.port, README_MONITOR_PORT: self.server.monitor_port})
        if block.flag("fresh-ports"):
            port, monitor_port = servers.free_ports(2)
            ports = PortMap({README_PORT: port, README_MONITOR_PORT: monitor_port}, everywhere=True)
        path = os.pathsep.join((str(self.bin_folder), os.environ.get("PATH", os.defpath)))
        env = {
            **os.environ,
            **self.server.env,
            "PATH": path,
            "COLUMNS": "80",
            "NO_COLOR": "1",
            # Through a pipe Python would keep its lines back; in a terminal it does not.
            "PYTHONUNBUFFERED": "1",
        }
        return _Terminal(block, Process(ports.to_real(text), block.path.parent, env), ports)

    def _expect(self, terminal: _Terminal, block: Block, lines: tuple[str, ...]) -> None:
        """Wait until the next output is `lines`."""
        if not lines:
            return
        if block.flag("any-order"):
            self._expect_any_order(terminal, block, lines)
            return
        wanted = match.pattern(lines, skip_first=terminal.open_end)

        def seen(text: str, _ended: bool) -> bool:
            return wanted.match(terminal.rest(text)) is not None

        if not terminal.process.wait_until(seen, _seconds(block)):
            raise self._failure(terminal, block, lines)
        found = wanted.match(terminal.rest(terminal.process.output))
        assert found is not None, "output only grows"
        terminal.told += found.end()
        terminal.open_end = match.ends_open(lines)

    def _expect_any_order(self, terminal: _Terminal, block: Block, lines: tuple[str, ...]) -> None:
        def seen(text: str, _ended: bool) -> bool:
            return terminal.rest(text).count("\n") >= len(lines)

        terminal.process.wait_until(seen, _seconds(block))
        rest = terminal.rest(terminal.process.output).splitlines(keepends=True)[: len(lines)]
        if not match.same_lines(lines, [line.rstrip() for line in rest]):
            raise self._failure(terminal, block, lines)
        terminal.told += sum(map(len, rest))
        terminal.open_end = False

    def _expect_end(self, terminal: _Terminal, block: Block, lines: tuple[str, ...], *, last: bool) -> None:
        """Wait for the end; the rest of the output must be `lines`, and the exit code as told."""
        if not terminal.process.wait_until(lambda _text, ended: ended, _seconds(block)):
            raise self._failure(terminal, block, lines, why="it does not end")
        rest = terminal.rest(terminal.process.output)
        if block.flag("any-order"):
            good = match.same_lines(lines, [line.rstrip() for line in rest.splitlines()])
        else:
            wanted = match.pattern(lines, skip_first=terminal.open_end)
            good = wanted.fullmatch(rest) is not None
        if not good:
            raise self._failure(terminal, block, lines)
        expected_code = int(block.value("exit", "0")) if last else 0
        if terminal.process.exit_code != expected_code:
            code = terminal.process.exit_code
            raise self._failure(terminal, block, lines, why=f"exit code {code}")
        terminal.done = True

    def _failure(self, terminal: _Terminal, block: Block, lines: tuple[str, ...], *, why: str = "") -> StepFailedError:
        shown = "\n".join(lines)
        got = terminal.rest(terminal.process.output)
        others = "".join(
            f"\n--- terminal {name}\n{other.ports.to_readme(other.process.output)}"
            for name, other in self._terminals.items()
            if other is not terminal
        )
        state = "it has ended" if terminal.process.ended else "it still runs"
        return StepFailedError(
            f"{block.where}: {why or 'the output differs'} ({state})\n--- expected\n{shown}\n"
            f"--- got\n{got}{others}\n--- server log\n{_tail(self.server)}"
        )

    def _missing(self, need: str) -> str:
        """Why `need` cannot be had; empty when it can."""
        if need == "docker":
            return "" if self.server.kind == "docker" else "the lab does not run on Docker"
        if need == "binary":
            return "" if servers.binary() else "there is no stonechat-server"
        if need == "stonechat":
            return "" if servers.has_module() else "the module stonechat is not installed"
        if need.startswith("image:"):
            return "" if servers.has_image(need[6:]) else f"the image {need[6:]} is not built"
        return "" if shutil.which(need) else f"there is no {need}"


def _seconds(block: Block) -> float:
    return float(block.value("timeout", str(STEP_SECONDS)))


def _tail(server: LabServer) -> str:
    return "\n".join(server.logs().splitlines()[-20:])


def _write_commands(folder: Path) -> None:
    """Make `python` and `stonechat-server` mean what this test run uses."""
    commands = {"python": sys.executable}
    if program := servers.binary():
        commands["stonechat-server"] = str(Path(program).absolute())
    for name, target in commands.items():
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec "{target}" "$@"\n', encoding="utf-8")
        script.chmod(0o755)
