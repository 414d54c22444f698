"""Tests of the `stonechat` command, compared with the `nats` tool if that is available."""
