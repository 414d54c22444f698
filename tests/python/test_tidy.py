"""The check of the shape of the sources finds what it is for."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def tidy() -> Any:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("tidy", Path(__file__).parents[2] / "scripts" / "tidy.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_circles_of_imports_are_found(tidy: Any, tmp_path: Path) -> None:
    """By imports with braces, by paths in the code and by `super`; not by comments and tests."""
    files = {
        "lib.rs": "mod a;\nmod b;\nmod c;\nmod d;\n",
        "a.rs": "use crate::{b::B, d};\n",
        "b/mod.rs": "mod inner;\nfn f() { self::inner::g() }\n",
        "b/inner.rs": "use super::super::c::{self, C as D};\nfn g() {}\n",
        "c.rs": "fn h() { crate::a::x() }\n",
        "d.rs": "// use crate::a;\nfn d() {}\n#[cfg(test)]\nmod tests {\n    use crate::a;\n}\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    found = tidy.strongly_connected(tidy.imports(tmp_path))
    assert [sorted(circle) for circle in found] == [[("a",), ("b",), ("b", "inner"), ("c",)]]


def test_functions_are_measured(tidy: Any) -> None:
    """From the line with the name to the brace below it."""
    text = (
        "impl A {\n    pub(crate) async fn long(\n        &self,\n    ) {\n        x\n    }\n\n    fn short() {}\n}\n"
    )
    assert tidy.function_lengths("f", text) == {"f:2 long": 5}
    assert list(tidy.above("lines", {"a": 5, "b": 2}, 4, 9)) == ["a: 5 lines, at most 4"]
    assert list(tidy.above("lines", dict.fromkeys("abc", 3), 4, 2)) == ["lines: the 95th percentile is 3, at most 2"]
