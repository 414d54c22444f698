"""JetStream of servers with special configurations gives the same answers as nats-server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from tests.differential.servers import Programs, Two, running

from .player import Ack, Ask, Fetch, Listen, Step, api, create, play, publish
from .test_jetstream import differences

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMITS = 'jetstream { store_dir: "js", limits { max_ack_pending: 10, max_request_batch: 20 } }'
SERVICES = [
    "$JS.API.INFO", "$JS.API.STREAM.INFO.S", "$JS.API.CONSUMER.INFO.S.C", "$JS.API.CONSUMER.MSG.NEXT.S.C",
    "$JS.API.CONSUMER.CREATE.S.P", "$JS.ACK.S.*.>", "$JS.API.DIRECT.GET.S", "$JS.FC.S.>", "s.>",
]  # fmt: skip
EXPORTS = ", ".join(f'{{service: "{subject}"}}' for subject in SERVICES)
IMPORTS = ", ".join(f'{{service: {{account: A, subject: "{subject}"}}}}' for subject in SERVICES)
ACCOUNTS = f"""
jetstream {{ store_dir: "js" }}
accounts {{
  A {{ jetstream: enabled, users: [{{user: a, password: a}}], exports: [{EXPORTS}, {{stream: "d.>"}}] }}
  B {{ users: [{{user: b, password: b}}], imports: [{IMPORTS}, {{stream: {{account: A, subject: "d.>"}}}}] }}
  C {{ users: [{{user: c, password: c}}] }}
}}
"""


def consumer(name: str, **config: Any) -> Ask:
    """Creates a consumer of `S`."""
    return api(f"CONSUMER.CREATE.S.{name}", {"stream_name": "S", "config": {"name": name, **config}})


def agree(servers: Two, steps: Sequence[Step], user: str = "") -> list[Any]:
    """Plays `steps` to both servers, compares the results, and returns those of nats-server."""
    urls = [f"nats://{user}127.0.0.1:{server.port}" for server in servers]
    with ThreadPoolExecutor(2) as threads:
        theirs, ours = threads.map(lambda url: play(url, steps), urls)
    pairs = zip([*steps, "what was heard"], theirs, ours, strict=True)
    told = [f"{step}\n    {found}" for step, expected, got in pairs for found in differences(expected, got)]
    assert not told, "\n".join(told)
    return theirs


def test_the_servers_own_limits_of_consumers(programs: Programs) -> None:
    steps: list[Step] = [
        create("S", subjects=["s.>"]),
        *[consumer(f"c{n}", ack_policy="explicit", max_ack_pending=n) for n in (-1, 0, 10, 11)],
        *[consumer(f"b{n}", ack_policy="explicit", max_batch=n) for n in (0, 20, 21)],
        consumer("c10", ack_policy="explicit", max_ack_pending=12), consumer("none", ack_policy="none"),
        create("T", consumer_limits={"max_ack_pending": 50}),
    ]  # fmt: skip
    with running(programs, LIMITS) as servers:
        assert "system limit of 10" in str(agree(servers, steps))


def test_jetstream_of_another_account_through_imports_alone(programs: Programs) -> None:
    owner = [create("S", subjects=["s.>"], allow_direct=True), publish("s.a", "1"), publish("s.a", "2"),
             consumer("C", durable_name="C", ack_policy="explicit")]  # fmt: skip
    push = consumer("P", durable_name="P", ack_policy="explicit", deliver_subject="d.x", flow_control=True,
                    idle_heartbeat=5_000_000_000)  # fmt: skip
    user: list[Step] = [
        api("INFO"), api("CONSUMER.INFO.S.C"), Fetch({"batch": 1}, count=1), Ack(0), Fetch({"batch": 1}, count=1),
        api("STREAM.INFO.S"), Listen("d.x"), push, publish("s.b", "3"), Ask("$JS.API.DIRECT.GET.S", {"seq": 1}),
        api("STREAM.NAMES"), create("Z"), Ask("$JS.API.NOTHING", silent=True),
    ]  # fmt: skip
    with running(programs, ACCOUNTS) as servers:
        agree(servers, owner, "a:a@")
        agree(servers, user, "b:b@")
        assert "not enabled for account" in str(agree(servers, [api("INFO"), create("Z")], "c:c@"))
