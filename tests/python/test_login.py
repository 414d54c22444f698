"""Logins: credentials that are accepted and refused."""

from __future__ import annotations

import pytest

from stonechat import ConfigError, Server
from tests.python.raw_client import RawClient

DENIED = "Authorization Violation"


def test_user_and_password() -> None:
    with Server(user="joe", password="secret") as server:
        assert server.credentials == {"user": "joe", "password": "secret"}
        with RawClient(server.url, user="joe", **{"pass": "secret"}) as client:
            assert client.info["auth_required"] is True
        for wrong in ({}, {"user": "joe", "pass": "x"}, {"user": "x", "pass": "secret"}):
            with pytest.raises(ConnectionError, match=DENIED):
                RawClient(server.url, **wrong)


def test_token() -> None:
    with Server(token="t0ken") as server:
        assert server.credentials == {"token": "t0ken"}
        with RawClient(server.url, auth_token="t0ken"):
            pass
        with pytest.raises(ConnectionError, match=DENIED):
            RawClient(server.url, auth_token="other")


def test_several_users() -> None:
    with Server(users={"ann": "1", "bob": "2"}) as server:
        assert server.credentials == {"user": "ann", "password": "1"}
        for name, password in (("ann", "1"), ("bob", "2")):
            with RawClient(server.url, user=name, **{"pass": password}):
                pass
        with pytest.raises(ConnectionError, match=DENIED):
            RawClient(server.url, user="ann", **{"pass": "2"})


@pytest.mark.parametrize("options", [{"users": {}}, {"token": ""}, {"user": "", "password": "x"}])
def test_empty_credentials_are_no_silent_way_to_an_open_server(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="is empty"):
        Server(**options)  # type: ignore[arg-type]


def test_given_credentials_replace_those_of_the_configuration() -> None:
    config = "authorization { user: old, password: old }"
    with Server(config, token="new") as server:
        with pytest.raises(ConnectionError, match=DENIED):
            RawClient(server.url, user="old", **{"pass": "old"})
        with RawClient(server.url, auth_token="new"):
            pass


def test_secrets_stay_out_of_the_log_and_the_repr() -> None:
    with Server(user="joe", password="s3cret-word", trace=True, debug=True) as server:
        with RawClient(server.url, user="joe", **{"pass": "s3cret-word"}):
            pass
        assert "s3cret-word" not in repr(server)
        assert not [line for line in server.logs if "s3cret-word" in line.message]


@pytest.mark.parametrize(
    "options",
    [
        {"user": "joe"},
        {"password": "secret"},
        {"user": "joe", "password": "x", "token": "t"},
        {"token": "t", "users": {"a": "b"}},
    ],
)
def test_contradictions_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Server(**options)  # type: ignore[arg-type]
