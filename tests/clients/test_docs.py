"""The configurations that the documentation shows are accepted by the server."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.binaries import stonechat_server
from tests.support.certificates import Certificates

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"^```nats\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def _blocks() -> list[object]:
    return [
        pytest.param(block[1], id=f"{page.name}-{number}")
        for page in sorted(DOCS.glob("*.md"))
        for number, block in enumerate(BLOCK.finditer(page.read_text()), 1)
    ]


def test_the_pages_show_configurations() -> None:
    assert len(_blocks()) >= 8


@pytest.mark.parametrize("block", _blocks())
def test_a_configuration_of_the_documentation_is_valid(block: str, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    text = block.replace("/var/lib/stonechat", str(tmp_path / "store"))
    text = text.replace("/etc/stonechat/server.pem", str(certificates.certificate_file))
    text = text.replace("/etc/stonechat/server-key.pem", str(certificates.key_file))
    text = text.replace("/etc/stonechat/clients-ca.pem", str(certificates.authority_file))
    assert "/etc/" not in text, "a file of this configuration is not made for the test"
    file = tmp_path / "server.conf"
    file.write_text(text)
    ended = subprocess.run(
        [stonechat_server(), "-t", "-c", file], capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 0, ended.stderr
