r"""The notation of bytes in transcripts: UTF-8 text with `\r \n \t \\ \xHH`, and `\<a*100>` for a run of bytes."""

from __future__ import annotations

import re

_ESCAPE = re.compile(r"\\(?:(?P<run><(?P<byte>.)\*(?P<count>\d+)>)|x(?P<hex>[0-9a-fA-F]{2})|(?P<short>[rnt\\]))")
_SHORT = {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}
_NAMED = {value: "\\" + key for key, value in _SHORT.items()}
_LONG_RUN = re.compile(r"([^\\])\1{39,}")


def unescape(text: str) -> bytes:
    """Returns the bytes that a line of a transcript stands for."""
    parts: list[bytes] = []
    end = 0
    for match in _ESCAPE.finditer(text):
        parts.append(_plain(text[end : match.start()]))
        if match["run"]:
            parts.append(match["byte"].encode() * int(match["count"]))
        elif match["hex"]:
            parts.append(bytes.fromhex(match["hex"]))
        else:
            parts.append(_SHORT[match["short"]].encode())
        end = match.end()
    return b"".join([*parts, _plain(text[end:])])


def escape(data: bytes) -> str:
    """Returns the notation of some bytes, on one line and without blanks at the end."""
    text = data.decode("utf-8", "surrogateescape")
    line = "".join(map(_character, text))
    line = _LONG_RUN.sub(lambda run: rf"\<{run[1]}*{len(run[0])}>", line)
    return re.sub(r" +$", lambda blanks: r"\x20" * len(blanks[0]), line)


def _plain(text: str) -> bytes:
    if "\\" in text:
        raise ValueError(f"unknown escape in {text!r}")
    return text.encode()


def _character(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
