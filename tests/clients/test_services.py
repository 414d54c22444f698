"""Services with nats-py's micro API: endpoints, groups, errors, discovery, statistics."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING

import nats.micro
import pytest
from nats.micro.service import EndpointConfig, GroupConfig, ServiceConfig

from .helpers import barrier, client

if TYPE_CHECKING:
    from nats.micro.request import Request

    from tests.support.process import ServerProcess

pytestmark = pytest.mark.asyncio


async def double(request: Request) -> None:
    """Replies with twice the number, or with an error."""
    try:
        await request.respond(b"%d" % (2 * int(request.data)))
    except ValueError:
        await request.respond_error("400", "not a number")


async def test_endpoint_and_error(server: ServerProcess) -> None:
    """An endpoint replies, and reports an error in headers."""
    async with client(server) as nc, client(server) as caller:
        service = await nats.micro.add_service(nc, ServiceConfig(name="math", version="1.0.0"))
        await service.add_endpoint(EndpointConfig(name="double", handler=double))
        await barrier(nc)
        assert (await caller.request("double", b"21", timeout=60)).data == b"42"
        answer = await caller.request("double", b"x", timeout=60)
        assert answer.headers is not None
        assert answer.headers["Nats-Service-Error-Code"] == "400"
        assert answer.headers["Nats-Service-Error"] == "not a number"
        await service.stop()
        with pytest.raises(nats.errors.NoRespondersError):
            await caller.request("double", b"21", timeout=60)


async def test_discovery_and_statistics(server: ServerProcess) -> None:
    """PING, INFO and STATS find every instance and count its requests."""
    instances = 3
    async with client(server) as nc, client(server) as caller:
        services = []
        for _ in range(instances):
            service = await nats.micro.add_service(nc, ServiceConfig(name="math", version="1.0.0", description="sums"))
            group = service.add_group(GroupConfig(name="v1"))
            await group.add_endpoint(EndpointConfig(name="double", handler=double))
            services.append(service)
        await barrier(nc)
        for number in range(60):
            assert (await caller.request("v1.double", b"%d" % number, timeout=60)).data == b"%d" % (2 * number)

        async def ask(verb: str) -> list[dict[str, object]]:
            inbox = caller.new_inbox()
            answers = await caller.subscribe(inbox)
            await caller.publish(f"$SRV.{verb}.math", b"", reply=inbox)
            return [json.loads((await answers.next_msg(timeout=60)).data) for _ in range(instances)]

        for verb, kind in [("PING", "ping"), ("INFO", "info"), ("STATS", "stats")]:
            answers = await ask(verb)
            assert {answer["type"] for answer in answers} == {f"io.nats.micro.v1.{kind}_response"}
            assert {answer["id"] for answer in answers} == {service.id for service in services}
        stats = await ask("STATS")
        requests: Counter[str] = Counter()
        for answer in stats:
            for endpoint in answer["endpoints"]:  # type: ignore[attr-defined]
                requests[endpoint["subject"]] += endpoint["num_requests"]
        assert requests == {"v1.double": 60}
        await asyncio.gather(*(service.stop() for service in services))


async def test_one_instance_by_id(server: ServerProcess) -> None:
    """An instance answers to its own id, and only it."""
    async with client(server) as nc:
        one = await nats.micro.add_service(nc, ServiceConfig(name="math", version="1.0.0"))
        two = await nats.micro.add_service(nc, ServiceConfig(name="math", version="1.0.0"))
        answer = json.loads((await nc.request(f"$SRV.PING.math.{two.id}", b"", timeout=60)).data)
        assert answer["id"] == two.id != one.id
        await one.stop()
        await two.stop()
