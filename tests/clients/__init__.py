"""Tests with NATS clients and commands, used as a user would, against our server program."""
