"""Malformed and unusual object descriptions, which our own clients never write."""

from __future__ import annotations

import json

DEEP = b'{"name": "deep", "x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"

UNREADABLE: dict[str, bytes] = {
    "empty": b"",
    "text": b"nonsense",
    "list": b"[]",
    "number": b"5",
    "cut": b'{"name": "cut',
    "deep": DEEP,
}
"""Contents that are not descriptions, by the object name in their subject."""

ODD: dict[str, bytes] = {
    "escapes": json.dumps(
        {"name": "escapes", "description": "\x1b[2J\x07", "nuid": "e", "headers": {"\x1b": "\x1b"}}
    ).encode(),
    "halves": b'{"name": "halves", "nuid": "h", "description": "\\ud800", "metadata": {"a": "\\udfff"}}',
    "no-utf8": b'{"name": "no-utf8", "nuid": "n", "description": "\xff\xfe"}',
    "numbers": b'{"name": "numbers", "size": -1, "chunks": 1e99, "nuid": 7, "options": {"max_chunk_size": 1.5}}',
    "shapes": b'{"name": "shapes", "options": 7, "headers": [1], "metadata": "x", "digest": {}, "deleted": "no"}',
    "huge": b'{"name": "huge", "nuid": "z", "size": 18446744073709551615, "chunks": 18446744073709551615}',
    "all": b'{"name": "all", "nuid": ">", "size": 5, "chunks": 1, "digest": "SHA-256="}',
    "words": b'{"name": "words", "nuid": "a b\\r\\nPING", "size": 5, "chunks": 1}',
    "link": b'{"name": "link", "nuid": "l", "options": {"link": {"bucket": "a b\\r\\nPING", "name": "x"}}}',
    "circle": b'{"name": "circle", "nuid": "c", "options": {"link": {"bucket": "ODD", "name": "circle"}}}',
    "fields": b'{"name": "fields", "nuid": "f", "future": {"a": [1]}, "options": {"future": true}}',
}
"""Unusual descriptions, of which the valid parts are read; by object name."""

DAMAGED = ("numbers", "shapes", "huge", "all", "words", "link", "circle")
"""Names of the descriptions in `ODD` whose object can't be read."""
