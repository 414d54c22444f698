"""Removes harmless differences from answers: ids, times, ports, versions, and our own fields in INFO."""

from __future__ import annotations

import json
import re
from typing import Any

_INFO_FIELDS_TEXT = """
    server_id server_name version proto git_commit go host port headers auth_required tls_required tls_verify
    tls_available max_payload jetstream ip client_id client_ip nonce cluster cluster_dynamic domain connect_urls
    ws_connect_urls ldm compression connect_info remote_account acc_is_sys api_lvl xkey
"""
INFO_FIELDS = frozenset(_INFO_FIELDS_TEXT.split())
"""The fields of INFO that clients use. Other fields may differ."""

_INFO_IGNORED = frozenset({"git_commit"})
_KEY_SHAPES = {"server_id": r"N[A-Z2-7]{55}", "xkey": r"X[A-Z2-7]{55}", "nonce": r"[A-Za-z0-9_-]{15}"}
_INFO_VOLATILE = frozenset({"server_id", "server_name", "version", "go", "port", "client_id", "nonce", "xkey"})


def info(frame: bytes) -> bytes:
    """Returns INFO with its fields in order; values that differ between servers are replaced by their shape.

    A server name that equals the server id is marked as such. Other frames are returned unchanged.
    """
    match = re.fullmatch(rb"INFO (\{.*\})( ?)\r\n", frame, re.DOTALL)
    if match is None:
        return frame
    try:
        fields: dict[str, Any] = json.loads(match[1])
    except ValueError:
        return frame
    shown = [
        f"{key}={_info_value(key, value, fields)}"
        for key, value in fields.items()
        if key in INFO_FIELDS and key not in _INFO_IGNORED
    ]
    return b"INFO {" + ", ".join(shown).encode() + b"}" + match[2] + b"\r\n"


def _info_value(key: str, value: Any, fields: dict[str, Any]) -> str:
    if key not in _INFO_VOLATILE:
        return json.dumps(value)
    if key == "server_name" and value == fields.get("server_id"):
        return "<server_id>"
    pattern = _KEY_SHAPES.get(key)
    if pattern is not None:
        return f"<{key}>" if re.fullmatch(pattern, str(value)) else f"<malformed {key}: {value}>"
    return f"<{type(value).__name__}>"


def message_shape(frame: bytes) -> bytes:
    """Returns a MSG or HMSG with its JSON payload replaced by the shape of the JSON, and without the size.

    nats-server writes a second blank in some of its own answers; it is removed like the size.
    """
    head, separator, payload = frame.partition(b"\r\n")
    words = head.split(b" ")
    if words[0] not in (b"MSG", b"HMSG") or not payload.startswith(b"{"):
        return frame
    try:
        value = json.loads(payload)
    except ValueError:
        return frame
    words[-1] = b"#"
    return b" ".join(filter(None, words)) + separator + json.dumps(shape(value)).encode() + b"\r\n"


def shape(value: Any) -> Any:
    """Returns the shape of a JSON value: names and types; of a list, the different shapes of its elements."""
    if isinstance(value, dict):
        return {key: shape(element) for key, element in value.items()}
    if isinstance(value, list):
        return [json.loads(text) for text in sorted({json.dumps(shape(element)) for element in value})]
    if isinstance(value, bool) or value is None:
        return "bool" if value is not None else "null"
    if isinstance(value, (int, float)):
        return "number"
    return text_shape(value)


_TEXT_SHAPES = (
    ("time", re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")),
    ("server key", re.compile(r"N[A-Z2-7]{55}")),
    ("duration", re.compile(r"([\d.]+(y|d|h|m|s|ms|µs|ns))+")),
    ("digest", re.compile(r"sha256:[0-9a-f]{64}")),
)


def text_shape(text: str) -> str:
    """Returns the kind of a text: time, key, duration, digest, empty or other."""
    for kind, pattern in _TEXT_SHAPES:
        if pattern.fullmatch(text):
            return kind
    return "text" if text else "empty text"
