"""Exports and imports of accounts, and JetStream across them, compared with the real server."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import nats
import pytest

from tests.support.waiting import PATIENCE_S

from .servers import Programs, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from tests.support.process import ServerProcess

CORE = """
accounts {
  A { users: [{user: A, password: x}]
      imports: [
        {service: {account: B, subject: "svc.one"}}, {service: {account: B, subject: "svc.*.many"}, to: "local.*.many"},
        {service: {account: B, subject: "svc.shared"}, share: true},
        {service: {account: B, subject: "svc.swap.*.*"}, to: "swap.$2.$1"}, {service: {account: C, subject: "chain"}},
        {stream: {account: B, subject: "str.>"}, prefix: "from.b"}, {stream: {account: B, subject: "plain.*"}},
        {stream: {account: B, subject: "map.*.*"}, to: "mapped.$2.$1"} ] }
  B { users: [{user: B, password: x}]
      exports: [
        {service: "svc.one"}, {service: "svc.*.many", response: stream}, {service: "svc.shared"},
        {service: "svc.swap.*.*", accounts: [A]}, {service: "end"},
        {stream: "str.>"}, {stream: "plain.*"}, {stream: "map.*.*", accounts: [A]} ] }
  C { users: [{user: C, password: x}], exports: [{service: "chain"}],
      imports: [{service: {account: B, subject: "end"}, to: "chain"}, {stream: {account: B, subject: "plain.*"}}] }
}
"""

JETSTREAM = """
jetstream { store_dir: "js" }
accounts {
  A { jetstream: enabled, users: [{user: A, password: x}]
      exports: [ {service: "$JS.API.>", response: stream}, {stream: "deliver.>"}, {service: "$JS.ACK.>"} ] }
  B { jetstream: enabled, users: [{user: B, password: x}]
      imports: [ {service: {account: A, subject: "$JS.API.>"}, to: "origin.API.>"},
                 {stream: {account: A, subject: "deliver.>"}}, {service: {account: A, subject: "$JS.ACK.>"}} ] }
  C { users: [{user: C, password: x}]
      imports: [ {service: {account: A, subject: "$JS.API.>"}}, {stream: {account: A, subject: "deliver.>"}},
                 {service: {account: A, subject: "$JS.ACK.>"}} ] }
}
"""


class Clients:
    """A client of each account, and a record of the results."""

    def __init__(self, a: Client, b: Client, c: Client) -> None:
        self.a, self.b, self.c = a, b, c
        self.seen: list[Any] = []

    def note(self, *what: Any) -> None:
        """Records a result that must be the same on both servers."""
        self.seen.append(what)

    def note_message(self, who: str, message: Msg, reply: str = "") -> None:
        """Records a message, with its subject unless that is the given reply subject."""
        headers = dict(message.headers or {})
        if info := headers.get("Nats-Request-Info"):
            fields = json.loads(info)
            kept = ("acc", "user", "name", "lang", "kind", "client_type", "svc")
            headers["Nats-Request-Info"] = json.dumps([sorted(fields), [fields.get(key) for key in kept]])
        for name, value in headers.items():
            if name == "Nats-Stream-Source":
                headers[name] = value.rpartition(" ")[0]
        subject = "the reply" if message.subject == reply else message.subject
        answer = message.reply[:4] if message.reply.startswith("_R_.") else message.reply
        if answer.startswith("$JS.ACK."):
            answer = ".".join(answer.split(".")[:7])
        self.note(who, subject, answer, sorted((str(k), str(v)) for k, v in headers.items()), message.data)

    async def ask(self, client: Client, subject: str, payload: Any = None) -> Any:
        """Sends a request to the API and returns the answer."""
        data = json.dumps(payload).encode() if payload is not None else b""
        return json.loads((await client.request(subject, data, timeout=PATIENCE_S)).data)

    async def barrier(self) -> None:
        """Waits until all earlier messages have arrived."""
        for _ in range(2):
            for client in (self.a, self.b, self.c):
                await client.flush()


@asynccontextmanager
async def _connected(server: ServerProcess) -> AsyncIterator[Clients]:
    async with AsyncExitStack() as stack:
        clients = []
        for account in "ABC":
            url = f"nats://{account}:x@127.0.0.1:{server.port}"
            client = await nats.connect(url, name=f"client of {account}", inbox_prefix=f"_INBOX.{account}")
            stack.push_async_callback(client.close)
            clients.append(client)
        yield Clients(*clients)


def _compare(programs: Programs, config: str, scenario: Callable[[Clients], Awaitable[None]]) -> list[Any]:
    async def play(server: ServerProcess) -> list[Any]:
        async with _connected(server) as clients:
            await scenario(clients)
            return clients.seen

    with running(programs, config) as two:
        theirs, ours = (asyncio.run(play(server)) for server in two)
    assert ours == theirs
    return ours


async def _drain(subscription: Subscription) -> list[Msg]:
    """Returns the messages received so far."""
    messages = []
    while subscription.pending_msgs:
        messages.append(await subscription.next_msg())
    return messages


async def _services(clients: Clients) -> None:
    async def serve(message: Msg) -> None:
        clients.note_message("service", message)
        if message.reply:
            await clients.b.publish(message.reply, b"one", headers={"x": "1"})
            await clients.b.publish(message.reply, b"two", reply="ask.back")
            await clients.b.publish(message.reply, b"")

    for subject in ("svc.>", "end"):
        await clients.b.subscribe(subject, cb=serve)
    back = await clients.b.subscribe("ask.back")
    await clients.barrier()
    for subject in ("svc.one", "local.q.many", "svc.shared", "swap.1.2", "chain", "svc.q.many", "local.q", "end"):
        reply = clients.a.new_inbox()
        answers = await clients.a.subscribe(reply)
        await clients.a.publish(subject, b"request", reply=reply, headers={"own": "header"})
        await clients.barrier()
        await clients.barrier()
        clients.note("asked", subject)
        for message in await _drain(answers):
            clients.note_message("asker", message, reply)
            if message.reply:
                await clients.a.publish(message.reply, b"asked back")
        await clients.barrier()
        for message in await _drain(back):
            clients.note_message("back", message)
        await answers.unsubscribe()
    # Requests without a reply subject, and requests without a responder.
    await clients.a.publish("svc.one", b"tell")
    await clients.barrier()
    for subscription in list(clients.b._subs.values()):
        await subscription.unsubscribe()
    await clients.barrier()
    for subject in ("svc.one", "chain", "nothing"):
        with pytest.raises(nats.errors.NoRespondersError):
            await clients.a.request(subject, b"", timeout=PATIENCE_S)


def test_services_of_other_accounts(programs: Programs) -> None:
    seen = _compare(programs, CORE, _services)
    assert sum(1 for what in seen if what[0] == "asker") >= 8


async def _streams(clients: Clients) -> None:
    listeners = {
        "a": await clients.a.subscribe(">"),
        "a mapped": await clients.a.subscribe("mapped.*.one"),
        "c": await clients.c.subscribe(">"),
    }
    queue = [await clients.a.subscribe("from.b.str.q", queue="workers") for _ in range(2)]
    await clients.barrier()
    for subject in ("str.x.y", "plain.z", "plain.z.w", "map.one.two", "other", "str.q", "from.b.str.x"):
        await clients.b.publish(subject, b"payload", reply="answer.here", headers={"h": "v"})
    await clients.barrier()
    await clients.a.publish("plain.own", b"stays here")
    await clients.barrier()
    for who, listener in listeners.items():
        for message in await _drain(listener):
            clients.note_message(who, message)
    clients.note("queue", sum([len(await _drain(member)) for member in queue]))


def test_streams_of_other_accounts(programs: Programs) -> None:
    assert len(_compare(programs, CORE, _streams)) >= 8


async def _jetstream(clients: Clients) -> None:
    origin, copy, user = clients.a, clients.b, clients.c
    await clients.ask(origin, "$JS.API.STREAM.CREATE.S", {"name": "S", "subjects": ["s.*"]})
    for number in range(5):
        await origin.publish(f"s.{number % 2}", b"%d" % number)
    await clients.barrier()
    for client, subject in (
        (copy, "origin.API.STREAM.NAMES"),
        (copy, "$JS.API.STREAM.NAMES"),
        (user, "$JS.API.STREAM.NAMES"),
    ):
        clients.note(subject, (await clients.ask(client, subject))["streams"])
    external = {"api": "origin.API", "deliver": "deliver"}
    wanted: dict[str, Any] = {
        "MIRROR": {"mirror": {"name": "S", "external": external}},
        "SOURCED": {"sources": [{"name": "S", "external": external, "filter_subject": "s.1"}]},
        "NOWHERE": {"mirror": {"name": "S", "external": {"api": "no.API", "deliver": "deliver"}}},
        "WRONG": {"mirror": {"name": "S", "external": {"api": "origin.*", "deliver": "deliver"}}},
    }
    for name, config in wanted.items():
        answer = await clients.ask(copy, f"$JS.API.STREAM.CREATE.{name}", {"name": name, **config})
        clients.note(name, answer.get("error"), answer.get("config", {}).get("mirror"))
    for name, count in (("MIRROR", 5), ("SOURCED", 2), ("NOWHERE", 0)):
        info = await clients.ask(copy, f"$JS.API.STREAM.INFO.{name}")
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while info["state"]["messages"] < count:
            assert asyncio.get_running_loop().time() < deadline, info
            await asyncio.sleep(0.02)
            info = await clients.ask(copy, f"$JS.API.STREAM.INFO.{name}")
        told = info.get("mirror") or info["sources"][0]
        state = [info["state"][key] for key in ("messages", "first_seq", "last_seq")]
        clients.note(name, state, told["name"], told.get("external"), told["active"] >= 0 and told["lag"])
        if count:
            got = (await clients.ask(copy, f"$JS.API.STREAM.MSG.GET.{name}", {"last_by_subj": "s.1"}))["message"]
            headers = base64.b64decode(got.get("hdrs", "")).decode().strip().rpartition(" ")[0]
            clients.note(name, got["subject"], got["seq"], got["data"], headers)
    await _consume(clients, origin, user)


async def _consume(clients: Clients, origin: Client, user: Client) -> None:
    config = {"name": "PULL", "durable_name": "PULL", "ack_policy": "explicit"}
    await clients.ask(user, "$JS.API.CONSUMER.CREATE.S.PULL", {"stream_name": "S", "config": config})
    inbox = user.new_inbox()
    answers = await user.subscribe(inbox)
    await user.publish("$JS.API.CONSUMER.MSG.NEXT.S.PULL", b'{"batch": 3, "no_wait": true}', reply=inbox)
    for _ in range(3):
        message = await answers.next_msg(timeout=PATIENCE_S)
        clients.note_message("pulled", message, inbox)
        await user.publish(message.reply, b"+ACK")
    await clients.barrier()
    info = await clients.ask(origin, "$JS.API.CONSUMER.INFO.S.PULL")
    clients.note("pulled", info["ack_floor"]["stream_seq"], info["num_ack_pending"], info["num_pending"])
    # The client subscribes after the consumer was created.
    config = {"name": "PUSH", "durable_name": "PUSH", "ack_policy": "none", "deliver_subject": "deliver.push"}
    await clients.ask(user, "$JS.API.CONSUMER.CREATE.S.PUSH", {"stream_name": "S", "config": config})
    pushed = await user.subscribe("deliver.push")
    for _ in range(5):
        clients.note_message("pushed", await pushed.next_msg(timeout=PATIENCE_S))


def test_jetstream_of_other_accounts(programs: Programs) -> None:
    seen = _compare(programs, JETSTREAM, _jetstream)
    assert sum(1 for what in seen if what[0] == "pushed") == 5


WRONG = {
    "no export": ("", 'stream: {account: B, subject: "a"}'),
    "another kind": ('{stream: "a"}', 'service: {account: B, subject: "a"}'),
    "not for A": ('{stream: "a", accounts: [C]}', 'stream: {account: B, subject: "a"}'),
    "wider than the export": ('{stream: "a.*"}', 'stream: {account: B, subject: "a.>"}'),
    "no account": ("", 'stream: {account: X, subject: "a"}'),
    "no account of a service": ("", 'service: {account: X, subject: "a"}'),
    "no account allowed": ('{stream: "a", accounts: [X]}', 'stream: {account: B, subject: "a"}'),
    "prefix with a wildcard": ('{stream: "a"}', 'stream: {account: B, subject: "a"}, prefix: "p.*"'),
    "prefix and to": ('{stream: "a"}', 'stream: {account: B, subject: "a"}, prefix: "p", to: "q"'),
    "twice": ('{stream: "a"}', 'stream: {account: B, subject: "a"}}, {stream: {account: B, subject: "a"}'),
    "a service twice": ('{service: "a"}', 'service: {account: B, subject: "a"}}, {service: {account: B, subject: "a"}'),
    "no subject": ('{stream: "a"}', "stream: {account: B}"),
    "a cycle": ('{service: "a"}', 'service: {account: B, subject: "a"}'),
    "good": ('{stream: "a.>"}', 'stream: {account: B, subject: "a.b"}'),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_can_not_be_imported(programs: Programs, tmp_path: Path, name: str) -> None:
    export, entry = WRONG[name]
    round_trip = ('exports: [{service: "a"}],', ', imports: [{service: {account: A, subject: "a"}}]')
    of_a, of_b = round_trip if name == "a cycle" else ("", "")
    config = tmp_path / "server.conf"
    config.write_text(
        f"accounts {{ C {{}}\n B {{ exports: [{export}]{of_b} }}\n A {{ {of_a} imports: [{{{entry}}}] }} }}\n"
    )

    def say(program: Path) -> tuple[int, str]:
        command = [str(program), "-t", "-c", str(config)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        # Which of two entries nats-server reports depends on the order of a Go map.
        is_any = name in ("a cycle", "twice", "a service twice")
        return done.returncode, done.stderr.rpartition(":")[2] if is_any else done.stderr

    ours = say(programs.ours)
    # Whether nats-server detects this error depends on the order of a Go map.
    tries = 50 if name == "prefix and to" else 1
    assert any(say(programs.oracle) == ours for _ in range(tries)), (ours, say(programs.oracle))
