"""Contents of the wheel: the module, its types, the commands and the plugin."""

from __future__ import annotations

import importlib.metadata
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import stonechat

ROOT = Path(__file__).parents[2]


def test_the_installed_package_is_tested_not_the_source_tree() -> None:
    assert not Path(stonechat.__file__).is_relative_to(ROOT / "python")


def test_the_package_is_typed() -> None:
    folder = Path(stonechat.__file__).parent
    assert (folder / "py.typed").is_file()
    assert (folder / "_stonechat.pyi").is_file()


def test_versions() -> None:
    assert stonechat.__version__ == importlib.metadata.version("stonechat")
    assert stonechat.NATS_VERSION == "2.15.2"


def test_entry_points() -> None:
    points = {(point.group, point.name) for point in importlib.metadata.distribution("stonechat").entry_points}
    assert points == {
        ("console_scripts", "stonechat"),
        ("console_scripts", "stonechat-server"),
        ("pytest11", "stonechat"),
    }


@pytest.mark.parametrize("name", stonechat.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(stonechat, name) is not None
    assert name in dir(stonechat)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = stonechat.Nonsense  # type: ignore[attr-defined]


def test_the_options_of_the_server_and_their_type_agree() -> None:
    parameters = set(inspect.signature(stonechat.Server).parameters)
    assert parameters == set(stonechat.ServerOptions.__annotations__)


def test_the_plugin_does_not_load_the_server() -> None:
    code = "import sys, stonechat.pytest_plugin; print([n for n in sys.modules if n.startswith('stonechat.')])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "['stonechat.pytest_plugin']"


def test_a_subinterpreter_is_refused_clearly() -> None:
    code = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
code = '''
try:
    import stonechat._stonechat
except ImportError as error:
    assert "subinterpreter" in str(error), error
else:
    raise AssertionError("imported")
'''
import stonechat._stonechat
id = interpreters.create()
failure = interpreters.run_string(id, code)
assert failure is None, failure
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
