"""Tests that send the same bytes to our server and to the real nats-server, and compare the answers."""
