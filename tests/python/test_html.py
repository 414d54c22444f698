"""The HTML of servers, streams and buckets for notebooks."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from stonechat import Server

EVIL = "<script>alert(1)</script>&\"'\x1b[31m\u202e\x00"
_SHOWN = ("&lt;script&gt;alert(1)&lt;/script&gt;&amp;", "\\x1b[31m", "\\u202e", "\\x00")


class _Tags(HTMLParser):
    """Checks that all tags are closed, and that there are no active elements such as scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in {"style", "div", "span", "b", "code", "table", "thead", "tbody", "tr", "th", "td"}
        assert {name for name, _ in attrs} <= {"class"}
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def shown(thing: object) -> str:
    text: str = thing._repr_html_()  # type: ignore[attr-defined]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e]", text)
    return " ".join(_Tags(text).words)


def test_all_of_them_and_all_text_is_escaped() -> None:
    with Server(jetstream=True, server_name="my<b>server</b>", monitor_port=0) as server:
        bucket = server.kv("B", description=EVIL.replace("\x00", ""))
        bucket["key"] = EVIL.encode()
        bucket["gone"] = b""
        del bucket["gone"]
        store = server.objects("O")
        info = store.put(EVIL, b"x" * 3000, description="Some", chunk_size=1000)
        store.link("link", EVIL)
        stream = server.streams.create("S", ["s.>"])
        stream.publish("s.<b>", b"\xff\xfe")
        consumer = server.consumers.create("S", "worker", filter_subject="s.<i>")
        for thing in (server, server.stats(), server.streams, bucket, store, stream, consumer):
            assert shown(thing)
            assert repr(thing)
        assert "my<b>server</b>" in shown(server)
        assert "gone" not in shown(bucket)
        for text in (bucket._repr_html_(), info._repr_html_(), store._repr_html_(), bucket.entry("key")._repr_html_()):
            assert all(word in text for word in _SHOWN), text
        assert "delete" in shown(bucket.history("gone")[-1])
        assert "\\xff\\xfe" in shown(stream)
        assert "\\xff\\xfe" in shown(stream.get(1))
        assert "O/" in shown(store.info("link"))
        assert "s.<i>" in shown(consumer)
    for thing in (server, bucket, store, stream, server.streams):
        assert "not running" in shown(thing)


def test_long_things_are_shortened() -> None:
    with Server(jetstream=True) as server:
        stream = server.streams.create("KV_B", ["$KV.B.>"])
        stream.seed([(f"$KV.B.k{number}", b"x" * 10_000) for number in range(50)])
        text = shown(server.kv("B"))
        assert "and more keys" in text
        assert len(text) < 20_000
        assert "... (10000 bytes)" in text
        assert "the last messages" in shown(stream)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_are_those_of_the_theme(theme: str) -> None:
    with Server() as server:
        style = re.findall(r"<style>(.*?)</style>", server._repr_html_())[0]
    # Text inherits the colour of the page; a fixed background would hide it in one of the themes.
    assert "color:inherit" in style
    assert not re.search(r"background(?!:none)", style), theme
    assert not re.search(r"[{;]color:(?!inherit|color-mix\(in srgb,#\w+ \d+%,currentColor\))", style), theme
