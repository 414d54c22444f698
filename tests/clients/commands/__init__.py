"""The `stonechat` command, beside the `nats` tool where there is one."""
