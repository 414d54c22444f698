"""Plays a script of requests and publishes to one server, and returns the answers in a comparable form."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import nats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nats.aio.client import Client
    from nats.aio.msg import Msg

PATIENCE_S = 5.0
SILENCE_S = 0.3


@dataclass(frozen=True)
class Ask:
    """A request that gets one answer, or none if `silent`."""

    subject: str
    payload: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    silent: bool = False


@dataclass(frozen=True)
class Gather:
    """A request with several answers; the last one has a status."""

    subject: str
    payload: Any = b""


@dataclass(frozen=True)
class Fetch:
    """A request for messages of `S.C` or another consumer; ends after a status, `count` messages, or a timeout."""

    request: Any = b""
    count: int = 1000
    consumer: str = "S.C"
    subject: str = ""


@dataclass(frozen=True)
class Ack:
    """An acknowledgement of the fetched message with index `message`, from 0; gets an answer if `answered`."""

    message: int
    verb: str = "+ACK"
    answered: bool = True
    count: int = 1


@dataclass(frozen=True)
class Listen:
    """A subscription, with `queue` as a member of this queue group; its messages are in the result of the script."""

    subject: str
    queue: str = ""


@dataclass(frozen=True)
class Fast:
    """Messages of a fast batch, as pairs of sequence and operation, sent together; the result is their answers."""

    steps: Sequence[tuple[int, int]]
    batch: str = "b"
    flow: str = "2"
    gaps: str = "fail"
    subject: str = "s.a"
    headers: dict[str, str] = field(default_factory=dict)
    payload: bytes = b"x"


@dataclass(frozen=True)
class Until:
    """Repeats a request until a field of the answer, a path with dots, has this value."""

    subject: str
    path: str
    value: Any


@dataclass(frozen=True)
class Tell:
    """A request without a reply subject, so without an answer."""

    subject: str
    payload: Any = b""


Step = Ask | Gather | Listen | Until | Fetch | Ack | Fast | Tell


def publish(subject: str, payload: str = "x", **headers: str) -> Ask:
    """Publishes a message; underscores in the names of headers stand for dashes."""
    return Ask(subject, payload.encode(), {name.replace("_", "-"): value for name, value in headers.items()})


def api(path: str, payload: Any = b"", **headers: str) -> Ask:
    """Sends a request to the API."""
    return Ask(f"$JS.API.{path}", payload, {name.replace("_", "-"): value for name, value in headers.items()})


def create(name: str, **config: Any) -> Ask:
    """Creates a stream."""
    return api(f"STREAM.CREATE.{name}", {"name": name, **config})


def play(url: str, steps: Sequence[Step]) -> list[Any]:
    """Plays the steps and returns the result of each, and at the end all messages of subscriptions."""
    return asyncio.run(_play(url, steps))


async def _play(url: str, steps: Sequence[Step]) -> list[Any]:
    client = await nats.connect(url, allow_reconnect=False, max_reconnect_attempts=0)
    heard: list[Any] = []
    results: list[Any] = []
    replies: list[str] = []

    async def hear(message: Msg) -> None:
        # Messages of push consumers can be acknowledged too.
        if message.reply.startswith("$JS.ACK."):
            replies.append(message.reply)
        heard.append([_masked(message.subject), _masked(message.reply), _message(message)])

    try:
        results += [await _step(client, step, hear, replies) for step in steps]
        # All messages that were sent before this answer have arrived.
        await client.request("$JS.API.INFO", b"", timeout=PATIENCE_S)
        # The real server sends advisories of deletions some time after its answer: wait until no more arrive.
        count = -1
        while heard and count < len(heard):
            count = len(heard)
            await asyncio.sleep(SILENCE_S)
        # The order of two advisories about one request is not defined.
        results.append(sorted(heard, key=lambda one: str(one[0])))
    finally:
        await client.close()
    return results


async def _step(client: Client, step: Step, hear: Any, replies: list[str]) -> Any:
    if isinstance(step, Fast):
        return await _fast(client, step)
    if isinstance(step, Fetch):
        return await _fetch(client, step, replies)
    if isinstance(step, Ack):
        subject = replies[step.message]
        if step.verb.startswith("+NXT"):
            return await _fetch(client, Fetch(step.verb.encode(), step.count, subject=subject), replies)
        if step.answered:
            return await _try(client, Ask(subject, step.verb.encode()), hear)
        await client.publish(subject, step.verb.encode())
        return await client.flush()
    if isinstance(step, Tell):
        payload = step.payload if isinstance(step.payload, bytes) else json.dumps(step.payload).encode()
        await client.publish(step.subject, payload)
        return await client.flush()
    while True:
        got = await _try(client, step, hear)
        # The real server may still be removing the files of a deleted stream with this name.
        if "error creating store for stream" in str(got):
            continue
        if isinstance(step, Ask) and _has_old_messages(step, got):
            await client.request(step.subject.replace(".CREATE.", ".DELETE."), b"", timeout=PATIENCE_S)
            continue
        return got


def _has_old_messages(step: Ask, got: list[Any]) -> bool:
    """Whether a new stream has messages of a deleted one: the real server may read files before it removes them."""
    if not step.subject.startswith("$JS.API.STREAM.CREATE.") or not isinstance(got[0], list):
        return False
    answer = got[0][1]
    if not isinstance(answer, dict) or not answer.get("did_create"):
        return False
    config = answer.get("config", {})
    begins_later = any(config.get(name) for name in ("mirror", "sources", "first_seq"))
    return bool(answer["state"]["last_seq"]) and not begins_later


async def _try(client: Client, step: Ask | Gather | Listen | Until, hear: Any) -> Any:
    if isinstance(step, Listen):
        await client.subscribe(step.subject, step.queue, cb=hear)
        await client.flush()
        return None
    if isinstance(step, Until):
        return await _until(client, step)
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    payload = step.payload if isinstance(step.payload, bytes) else json.dumps(step.payload).encode()
    headers = step.headers if isinstance(step, Ask) else {}
    # Built here, so that the header block does not depend on the version of the client.
    block = (
        ("NATS/1.0\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n").encode() if headers else b""
    )
    size = f"{len(block)} {len(block) + len(payload)}" if block else f"{len(payload)}"
    line = f"{'HPUB' if block else 'PUB'} {step.subject} {inbox} {size}\r\n".encode()
    await client._send_command(line + block + payload + b"\r\n")
    await client.flush()
    got: list[Any] = []
    try:
        while True:
            silent = isinstance(step, Ask) and step.silent
            message = await subscription.next_msg(SILENCE_S if silent else PATIENCE_S)
            got.append(_message(message))
            if isinstance(step, Ask) or (message.headers or {}).get("Status"):
                break
    except TimeoutError:
        got.append("silence")
    await subscription.unsubscribe()
    return got


async def _fetch(client: Client, step: Fetch, replies: list[str]) -> list[Any]:
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    payload = step.request if isinstance(step.request, bytes) else json.dumps(step.request).encode()
    await client.publish(step.subject or f"$JS.API.CONSUMER.MSG.NEXT.{step.consumer}", payload, reply=inbox)
    got: list[Any] = []
    try:
        while len(got) < step.count:
            message = await subscription.next_msg(SILENCE_S * 2 if got else 4 * SILENCE_S)
            if message.reply:
                replies.append(message.reply)
            got.append([_masked(message.subject), _masked(message.reply), _message(message)])
            if (message.headers or {}).get("Status", "100") != "100":
                break
    except TimeoutError:
        got.append("silence")
    await subscription.unsubscribe()
    return got


async def _fast(client: Client, step: Fast) -> list[Any]:
    inbox = client.new_inbox()
    subscription = await client.subscribe(f"{inbox}.>")
    for sequence, operation in step.steps:
        reply = f"{inbox}.{step.batch}.{step.flow}.{step.gaps}.{sequence}.{operation}.$FI"
        await client.publish(step.subject, step.payload, reply=reply, headers=step.headers or None)
    got: list[Any] = []
    try:
        while True:
            message = await subscription.next_msg(2 * SILENCE_S)
            got.append([message.subject.removeprefix(inbox), _message(message)])
    except TimeoutError:
        pass
    await subscription.unsubscribe()
    return got


def _masked(subject: str) -> str:
    """Returns a subject without the parts that differ in each run."""
    if subject.startswith("$JS.ACK."):
        tokens = subject.split(".")
        tokens[7:8] = ["<time>"]
        return ".".join(tokens)
    if subject.startswith("$JS.FC."):
        return subject[: subject.rindex(".")] + ".<id>"
    return "<inbox>" if subject.startswith("_INBOX.") else subject


async def _until(client: Client, step: Until) -> Any:
    deadline = asyncio.get_running_loop().time() + 4 * PATIENCE_S
    while True:
        answer = json.loads((await client.request(step.subject, b"", timeout=PATIENCE_S)).data)
        value: Any = answer
        for name in step.path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if value == step.value:
            return normalise(answer)
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"{step} is never so: {answer}")
        await asyncio.sleep(0.05)


def _message(message: Msg) -> Any:
    headers = {str(getattr(k, "value", k)): v for k, v in (message.headers or {}).items()}
    masks = {"Nats-Time-Stamp": "<time>", "Nats-Pin-Id": "<id>"}
    headers = {k: masks.get(k, v) for k, v in headers.items()}
    if headers.get("Nats-Schedule-Next", "purge") != "purge":
        headers["Nats-Schedule-Next"] = re.sub(r"\d", "0", headers["Nats-Schedule-Next"])
    try:
        body: Any = normalise(json.loads(message.data))
    except ValueError:
        body = message.data.decode(errors="replace")
    return [headers, body]


_TIMES = {"created", "ts", "time", "first_ts", "last_ts", "timestamp", "start", "last_active", "pinned_ts"}
_NAMES = {"leader", "server", "_nats.ver", "lang", "ver", "host"}
_NUMBERS = {"rtt", "total", "errors", "max_memory", "max_storage", "ack_time", "pause_remaining", "active"}
_ZERO = "0001-01-01T00:00:00Z"


def normalise(value: Any, name: str = "") -> Any:
    """Returns a JSON value without the parts that differ in each run."""
    if isinstance(value, dict):
        fields = {key: normalise(item, key) for key, item in value.items()}
        # The totals of paged answers are compared, those of API statistics are not.
        if "total" in value and "level" not in value:
            fields["total"] = value["total"]
        return fields
    if isinstance(value, list):
        items = [normalise(item, name) for item in value]
        # nats-server lists sources in no fixed order.
        is_told = name == "sources" and all(isinstance(item, dict) and "lag" in item for item in value)
        return sorted(items, key=lambda item: str(item["name"])) if is_told else items
    if isinstance(value, str):
        if name == "hdrs":
            # The last word of the header identifies the stream that a message is copied from.
            block = base64.b64decode(value).decode(errors="replace")
            block = re.sub(r"(Nats-Schedule-Next: )\d.*\r\n", r"\1<time>\r\n", block)
            return re.sub(r"(Nats-Stream-Source: .*) \w{8}\r\n", r"\1 <identity>\r\n", block)
        if name in _TIMES and re.match(r"\d{4}-", value):
            return value if value == _ZERO else "<time>"
        if name in _NAMES:
            return f"<{name}>"
        if name in ("id", "pinned_id", "pinned_client_id") and len(value) == 22:
            return "<id>"
        if name in ("response", "request") and value.startswith("{"):
            try:
                return normalise(json.loads(value))
            except ValueError:
                return value
    if isinstance(value, int) and name in (*_NUMBERS, "id"):
        return f"<{name}>"
    return value
