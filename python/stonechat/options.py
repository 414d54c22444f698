"""The keyword options of a server: names, types, checks and the conversion for Rust."""

from __future__ import annotations

import math
import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from .errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ServerOptions", "Settings", "settings_from"]

Config: TypeAlias = str | os.PathLike[str]
Seconds: TypeAlias = float | timedelta

_PORT_MAX = 65535
# Longer times would overflow when they are converted to nanoseconds.
_SECONDS_MAX = 100 * 365 * 24 * 3600
_FILE_SUFFIXES = {".conf", ".cfg", ".json"}


class ServerOptions(TypedDict, total=False):
    """The keyword options of [`Server`][stonechat.Server], for functions that pass them on."""

    config: Config | None
    host: str | None
    port: int | None
    monitor_port: int | None
    server_name: str | None
    user: str | None
    password: str | None
    token: str | None
    users: Mapping[str, str] | None
    auth_timeout: Seconds | None
    client_advertise: str | None
    max_payload: int | None
    max_connections: int | None
    max_subscriptions: int | None
    max_control_line: int | None
    max_pending: int | None
    ping_interval: Seconds | None
    ping_max: int | None
    write_deadline: Seconds | None
    lame_duck_duration: Seconds | None
    lame_duck_grace_period: Seconds | None
    debug: bool | None
    trace: bool | None
    jetstream: bool
    store_dir: str | os.PathLike[str] | None
    max_memory: int | None
    max_file: int | None
    record: bool


class Settings(TypedDict):
    """The checked options for Rust: times in seconds, `None` for options that the configuration or a default sets."""

    config_text: str | None
    config_path: str | None
    host: str | None
    port: int | None
    monitor_port: int | None
    server_name: str | None
    user: str | None
    password: str | None
    token: str | None
    users: list[tuple[str, str]] | None
    auth_timeout: float | None
    client_advertise: str | None
    max_payload: int | None
    max_connections: int | None
    max_subscriptions: int | None
    max_control_line: int | None
    max_pending: int | None
    ping_interval: float | None
    ping_max: int | None
    write_deadline: float | None
    lame_duck_duration: float | None
    lame_duck_grace_period: float | None
    debug: bool | None
    trace: bool | None
    jetstream: bool
    store_dir: str | None
    max_memory: int | None
    max_file: int | None
    record: bool


def settings_from(options: Mapping[str, Any]) -> Settings:
    """Check options and convert them for Rust.

    `options` must have all names of `ServerOptions`. For an option that is `None`, the value of the configuration is
    used, or the default if the configuration has none.
    """
    _check_credentials(options)
    text, path = _split_config(options["config"])
    users = options["users"]
    return {
        "config_text": text,
        "config_path": path,
        "host": _optional("host", options["host"], str),
        "port": _port("port", options["port"]),
        "monitor_port": _port("monitor_port", options["monitor_port"]),
        "server_name": _optional("server_name", options["server_name"], str),
        "user": _optional("user", options["user"], str),
        "password": _optional("password", options["password"], str),
        "token": _optional("token", options["token"], str),
        "users": None if users is None else [(str(name), str(secret)) for name, secret in users.items()],
        "auth_timeout": _seconds("auth_timeout", options["auth_timeout"]),
        "client_advertise": _optional("client_advertise", options["client_advertise"], str),
        # nats-server holds payload sizes in 32 bits, and refuses a `max_payload` above `max_pending`.
        "max_payload": _integer("max_payload", options["max_payload"], 1, 2**31 - 1),
        "max_connections": _integer("max_connections", options["max_connections"], 1, 2**63 - 1),
        "max_subscriptions": _integer("max_subscriptions", options["max_subscriptions"], 0, 2**63 - 1),
        "max_control_line": _integer("max_control_line", options["max_control_line"], 1, 2**31 - 1),
        "max_pending": _integer("max_pending", options["max_pending"], 1, 2**63 - 1),
        "ping_interval": _seconds("ping_interval", options["ping_interval"]),
        "ping_max": _integer("ping_max", options["ping_max"], 1, 2**31 - 1),
        "write_deadline": _seconds("write_deadline", options["write_deadline"]),
        "lame_duck_duration": _seconds("lame_duck_duration", options["lame_duck_duration"]),
        "lame_duck_grace_period": _seconds("lame_duck_grace_period", options["lame_duck_grace_period"]),
        "debug": _optional("debug", options["debug"], bool),
        "trace": _optional("trace", options["trace"], bool),
        "jetstream": bool(options["jetstream"]),
        "store_dir": None if options["store_dir"] is None else os.fspath(options["store_dir"]),
        "max_memory": _integer("max_memory", options["max_memory"], 0, 2**63 - 1),
        "max_file": _integer("max_file", options["max_file"], 0, 2**63 - 1),
        "record": bool(options["record"]),
    }


def _check_credentials(options: Mapping[str, Any]) -> None:
    if (options["user"] is None) != (options["password"] is None):
        raise ConfigError("user and password go together: give both or none")
    kinds = [name for name in ("user", "token", "users") if options[name] is not None]
    if len(kinds) > 1:
        raise ConfigError(f"{' and '.join(kinds)} exclude each other: choose one way to log in")
    # In a configuration, empty credentials mean that none are required, as in nats-server. As an option they are
    # more likely a mistake, so they are refused.
    if empty := [name for name in kinds if not options[name]]:
        raise ConfigError(f"{empty[0]} is empty, which would let everybody in; leave it out if that is meant")


def _split_config(config: Config | None) -> tuple[str | None, str | None]:
    """Return `(text, path)` of a configuration: one is `None`, depending on whether `config` is a text or a path."""
    if config is None:
        return None, None
    if isinstance(config, os.PathLike):
        return None, os.fspath(config)
    if not isinstance(config, str):
        raise TypeError(f"config must be a text or a path, not {type(config).__name__}")
    return (None, config) if _looks_like_path(config) else (config, None)


def _looks_like_path(config: str) -> bool:
    if not config.strip() or any(mark in config for mark in "\n{="):
        return False
    # "port: 4222" has a space, "port:4222" a colon. A single word is not a configuration, so it is a file name.
    path = Path(config)
    return path.suffix in _FILE_SUFFIXES or not any(mark in config for mark in " \t:#") or path.is_file()


def _optional(name: str, value: Any, kind: type) -> Any:
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{name} must be {kind.__name__}, not {type(value).__name__}")
    return value


def _integer(name: str, value: Any, least: int, most: int) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be int, not {type(value).__name__}")
    if not least <= value <= most:
        raise ConfigError(f"{name} must be between {least} and {most}, not {value}")
    return value


def _port(name: str, value: Any) -> int | None:
    # nats-server uses -1 for "any free port".
    return _integer(name, 0 if value == -1 else value, 0, _PORT_MAX)


def _seconds(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be seconds or a timedelta, not {type(value).__name__}")
    if not math.isfinite(value) or not 0 <= value <= _SECONDS_MAX:
        raise ConfigError(f"{name} must be between 0 and {_SECONDS_MAX} seconds, not {value}")
    return float(value)
