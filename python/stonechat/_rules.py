"""Checks of names, keys, sizes and times before they are sent; an invalid one raises an error."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Literal

from . import _stonechat
from .errors import RuleError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .options import Seconds

_FORBIDDEN_IN_NAMES = re.compile(r"[\s.*>/\\\x00-\x1f\x7f]")
_LONGEST_NAME = 255
_MOST_REVISION = (1 << 64) - 1


def bucket(name: object) -> str:
    """Check and return the name of a bucket or an object store."""
    return _checked(name, "bucket", f"{name!r} can't be a bucket")


def key(name: object) -> str:
    """Check and return a key (ADR-8), which becomes part of a subject."""
    return _checked(name, "key", f"{name!r} can't be a key")


def key_filter(pattern: object) -> str:
    """Check and return a key or a pattern of keys."""
    return _checked(pattern, "filter", f"{pattern!r} can't be a filter")


def object_name(name: object) -> str:
    """Check and return the name of an object."""
    return _checked(name, "object", f"{name!r:.80} can't be an object")


def _checked(name: object, kind: Literal["bucket", "key", "filter", "object"], wrong: str) -> str:
    """Check a name by the rules in Rust, which the `stonechat` command uses too."""
    rule = _stonechat.broken_rule(kind, name)
    if rule is not None:
        raise RuleError(f"{wrong}: {rule}")
    return str(name)


def stream(name: object, what: str = "stream") -> str:
    """Check and return the name of a stream or a consumer."""
    if not isinstance(name, str) or not name or len(name) > _LONGEST_NAME or _FORBIDDEN_IN_NAMES.search(name):
        raise RuleError(
            f"{name!r} can't be a {what}: a name has 1 to {_LONGEST_NAME} characters, and no spaces, dots, *, >, / "
            "or \\"
        )
    return name


def subject(text: object, *, wildcards: bool = False) -> str:
    """Check and return a subject, or with `wildcards` a pattern of subjects."""
    tokens = text.split(".") if isinstance(text, str) else [""]
    if any(not token or re.search(r"[\s\x00-\x1f\x7f]", token) for token in tokens):
        raise RuleError(f"{text!r} can't be a subject: it is made of tokens with dots between, without spaces")
    if not wildcards and ("*" in tokens or tokens[-1] == ">"):
        raise RuleError(f"{text!r} can't be published to: * and > are for those who listen")
    if ">" in tokens[:-1]:
        raise RuleError(f"{text!r} can't be a subject: > only stands at the end")
    return str(text)


def value(data: object, what: str = "a value") -> bytes:
    """Return a bytes-like object as `bytes`."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    advice = "; encode the text: .encode()" if isinstance(data, str) else ""
    raise TypeError(f"{what} is bytes, not {type(data).__name__}{advice}")


def revision(number: object, *, zero: bool = False) -> int:
    """Check and return a revision, or the sequence of a message."""
    least = 0 if zero else 1
    if not isinstance(number, int) or isinstance(number, bool) or not least <= number <= _MOST_REVISION:
        raise RuleError(f"{number!r} can't be a revision: it is a whole number from {least} on")
    return number


def size(number: object, what: str, least: int = 1, most: int = (1 << 63) - 1) -> int:
    """Check and return a whole number between `least` and `most`."""
    if not isinstance(number, int) or isinstance(number, bool) or not least <= number <= most:
        raise RuleError(f"{what} can't be {number!r}: it is a whole number from {least} to {most}")
    return number


def nanoseconds(time: Seconds, what: str, least: float = 0.0) -> int:
    """Check a duration and return it in nanoseconds."""
    seconds = time.total_seconds() if isinstance(time, timedelta) else time
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not math.isfinite(seconds):
        raise RuleError(f"{what} can't be {time!r}: it is seconds or a timedelta")
    if not least <= seconds < 9e9:
        raise RuleError(f"{what} can't be {seconds:g} s: it is at least {least:g} s and less than 285 years")
    return round(seconds * 1_000_000_000)


def header_block(headers: Mapping[str, str]) -> bytes | None:
    """Return the headers as they are sent, or `None` if there are none."""
    if not headers:
        return None
    lines = ["NATS/1.0"]
    for name, text in headers.items():
        if not name or not re.fullmatch(r"[!-9;-~]+", name):
            raise RuleError(
                f"{name!r} can't be the name of a header: it has no spaces, no colon and no control characters"
            )
        if re.search(r"[\r\n\x00]", text):
            raise RuleError(f"the header {name} can't have a value with line breaks")
        lines.append(f"{name}: {text}")
    return "\r\n".join([*lines, "", ""]).encode()


_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")


def time(text: object) -> datetime:
    """Parse a time of a response (RFC 3339, with any number of digits); return the year 1 if it is malformed."""
    found = _TIME.fullmatch(text) if isinstance(text, str) else None
    if not found:
        return datetime.min.replace(tzinfo=timezone.utc)
    whole, part, zone = found.groups()
    micro = f"{part or ''}000000"[:6]
    return datetime.fromisoformat(f"{whole}.{micro}{'+00:00' if zone == 'Z' else zone}").astimezone(timezone.utc)


def time_of(nanoseconds: int) -> datetime:
    """Convert nanoseconds since 1970 to a time."""
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=nanoseconds // 1000)
