"""The comparison itself: it must find differences, and must accept harmless ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.frames import FrameBuffer
from tests.support.process import ServerProcess

from . import normalise
from .compare import broken, difference
from .escapes import escape, unescape
from .player import End, Outcome, Recording, play
from .transcript import Step, Transcript, TranscriptError, Verb, load

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP = Step("a", Verb.SYNC, line=7, text="a sync")
TRANSCRIPT = Transcript(Path("some.txt"), "a title", 1, steps=[STEP])


def recording(*frames: bytes, end: End = End.FOUND, unordered: tuple[bytes, ...] = ()) -> Recording:
    """Returns a recording of these answers to the one step of the transcript."""
    return Recording([Outcome(STEP, list(frames), end)], list(unordered))


BASE = recording(b"+OK\r\n", b"MSG foo 1 2\r\nhi\r\n", unordered=(b"MSG q * 1\r\nx\r\n",))


def test_equal_recordings_have_no_difference() -> None:
    """Equal answers pass."""
    same = recording(b"+OK\r\n", b"MSG foo 1 2\r\nhi\r\n", unordered=(b"MSG q * 1\r\nx\r\n",))
    assert difference(TRANSCRIPT, BASE, same) is None


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(recording(b"+OK\r\n", b"MSG foo 1 2\r\nho\r\n"), id="another byte in a payload"),
        pytest.param(recording(b"+OK\r\n", b"MSG foo 1  2\r\nhi\r\n"), id="one blank more"),
        pytest.param(recording(b"+OK\n", b"MSG foo 1 2\r\nhi\r\n"), id="another line end"),
        pytest.param(recording(b"+OK\r\n"), id="a missing frame"),
        pytest.param(recording(b"+OK\r\n", b"MSG foo 1 2\r\nhi\r\n", b"+OK\r\n"), id="a frame too many"),
        pytest.param(recording(b"MSG foo 1 2\r\nhi\r\n", b"+OK\r\n"), id="another order"),
        pytest.param(recording(b"+OK\r\n", b"MSG foo 1 2\r\nhi\r\n", end=End.CLOSED), id="a closed connection"),
        pytest.param(recording(b"+OK\r\n", b"MSG foo 1 2\r\nhi\r\n", end=End.SILENT), id="no answer"),
        pytest.param(Recording(), id="an early end"),
        pytest.param(recording(b"+OK\r\n", b"MSG foo 1 2\r\nhi\r\n"), id="no delivery to a group"),
        pytest.param(
            recording(b"+OK\r\n", b"MSG foo 1 2\r\nhi\r\n", unordered=(b"MSG q * 1\r\nx\r\n",) * 2),
            id="two deliveries to a group",
        ),
    ],
)
def test_each_difference_is_found(other: Recording) -> None:
    """Every kind of difference is reported, in both directions."""
    assert difference(TRANSCRIPT, BASE, other)
    assert difference(TRANSCRIPT, other, BASE)


def test_a_difference_names_step_and_bytes() -> None:
    """The report names file, line and step, and shows both answers."""
    text = difference(TRANSCRIPT, BASE, recording(b"-ERR 'no'\r\n", end=End.CLOSED))
    assert text is not None
    assert "some.txt:7" in text
    assert "a sync" in text
    assert r"MSG foo 1 2\r\nhi" in text
    assert "-ERR 'no'" in text
    assert "connection closed" in text


def test_a_transcript_that_tells_something_else_is_broken() -> None:
    """The expected answers in a transcript are checked against nats-server."""
    right = Step("a", Verb.SYNC, text="a sync", expected=["+OK"])
    wrong = Step("a", Verb.SYNC, text="a sync", expected=["+NO"])
    transcript = Transcript(Path("some.txt"), "t", 1)
    assert broken(transcript, Recording([Outcome(right, [b"+OK\r\n"], End.FOUND)])) is None
    assert broken(transcript, Recording([Outcome(wrong, [b"+OK\r\n"], End.FOUND)]))
    assert broken(transcript, Recording([Outcome(right, [b"+OK\r\n"], End.CLOSED)]))
    assert broken(transcript, Recording([Outcome(right, [b"+OK\r\n"], End.FOUND)], [b"MSG q * 0\r\n\r\n"]))


INFO = (
    b'INFO {"server_id":"N%s","server_name":"N%s","version":"2.15.1","git_commit":"abc","go":"go1.24",'
    b'"host":"127.0.0.1","port":4222,"headers":true,"max_payload":1048576,"client_id":5,"nonce":"aaaaaaaaaaaaaaa"} \r\n'
) % (b"A" * 55, b"A" * 55)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"A" * 55, b"B" * 55),
        (b"2.15.1", b"2.15.2"),
        (b'"git_commit":"abc",', b""),
        (b"go1.24", b"rust"),
        (b":4222", b":5333"),
        (b'"client_id":5', b'"client_id":77'),
        (b'"headers"', b'"stonechat":"0.1.0","headers"'),
        (b"a" * 15, b"b" * 15),
    ],
)
def test_harmless_differences_of_info_vanish(old: bytes, new: bytes) -> None:
    """Ids, versions, ports and our own fields are ignored."""
    assert normalise.info(INFO) == normalise.info(INFO.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"headers":true', b'"headers":false'),
        (b'"headers":true,', b""),
        (b'"max_payload":1048576', b'"max_payload":1048577'),
        (b'"headers":true,"max_payload":1048576', b'"max_payload":1048576,"headers":true'),
        (b"A" * 55 + b'","version"', b'parrot","version"'),
        (b'"server_id":"N', b'"server_id":"M'),
        (b'"port":4222', b'"port":"4222"'),
        (b"a" * 15, b"a" * 14),
        (b"} \r\n", b"}\r\n"),
    ],
)
def test_other_differences_of_info_stay(old: bytes, new: bytes) -> None:
    """Values that clients use, the order of fields and the blank at the end are compared."""
    changed = INFO.replace(old, new)
    assert changed != INFO
    assert normalise.info(INFO) != normalise.info(changed)


def test_shapes_of_payloads() -> None:
    """A JSON payload is compared by names and types, without its size; other payloads by their bytes."""
    one = normalise.message_shape(b'MSG a 1 25\r\n{"n":1,"t":["x","y"],"o":0}\r\n')
    two = normalise.message_shape(b'MSG a 1 19\r\n{"n":7,"t":["zzz"],"o":3}\r\n')
    assert one == two == b'MSG a 1 #\r\n{"n": "number", "t": ["text"], "o": "number"}\r\n'
    assert normalise.message_shape(b'MSG a 1 7\r\n{"n":"1"}\r\n') != normalise.message_shape(
        b'MSG a 1 7\r\n{"n":1}\r\n'
    )
    assert normalise.message_shape(b"MSG a 1 2\r\nhi\r\n") == b"MSG a 1 2\r\nhi\r\n"


@pytest.mark.parametrize(
    "data", [b"", b"PUB foo 2\r\nhi\r\n", b"\x00\xff\\ \t", b"x" * 5000, "grüße".encode(), b"a  ", b"\\<x*4>", b"\xc3"]
)
def test_the_notation_of_bytes_is_exact(data: bytes) -> None:
    """Bytes that are written into a transcript are read back unchanged."""
    assert unescape(escape(data)) == data
    assert "\n" not in escape(data)
    assert not escape(data).endswith(" ")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_frames_do_not_depend_on_segments(size: int) -> None:
    """The frames do not depend on how the stream is split, even if payloads contain line ends."""
    stream = b"INFO {} \r\nMSG a 1 6\r\n+OK\r\nx\r\nHMSG a 1 r 2 4\r\nab\r\n\r\nPONG\r\nrest"
    buffer = FrameBuffer()
    frames: list[bytes] = []
    for start in range(0, len(stream), size):
        buffer.feed(stream[start : start + size])
        frames += buffer.frames()
    assert frames == [b"INFO {} \r\n", b"MSG a 1 6\r\n+OK\r\nx\r\n", b"HMSG a 1 r 2 4\r\nab\r\n\r\n", b"PONG\r\n"]
    assert buffer.rest() == b"rest"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("== t\na> PING\n", "without a reading step"),
        ("== t\na sync\nb> PING\n", "without a reading step"),
        ("== t\n", "no steps"),
        ("== t\na jump\na sync\n", "can't read"),
        ("== t\na> \\q\na sync\n", "unknown escape"),
        ("== t\na> PING\na< PONG\na sync\n", "must follow a reading step"),
        ("== t\nany: a\na sync\n", "not connection/sid"),
        ("a> PING\n", "before the first transcript"),
    ],
)
def test_transcripts_that_cannot_be_deterministic_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    """In a transcript, the last step of each connection must wait for an answer, and every line must be valid."""
    file = tmp_path / "bad.txt"
    file.write_text(text)
    with pytest.raises(TranscriptError, match=complaint):
        load(file)


@pytest.fixture(scope="module")
def two_servers(oracle_program: Path) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """Two real servers that differ in one limit."""
    with ServerProcess(oracle_program) as one, ServerProcess(oracle_program, "max_payload: 100") as other:
        yield one, other


def test_a_server_that_behaves_differently_is_found(
    two_servers: tuple[ServerProcess, ServerProcess], tmp_path: Path
) -> None:
    """An end-to-end check: two servers with different limits give different recordings."""
    file = tmp_path / "limit.txt"
    file.write_text("== t\na connect\na>> PUB foo 200\\r\\n\\<x*200>\\r\\n\na sync\n")
    (transcript,) = load(file)
    one, other = (play(transcript, server.port) for server in two_servers)
    assert difference(transcript, one, one) is None
    report = difference(transcript, one, other)
    assert report is not None
    assert "Maximum Payload Violation" in report
