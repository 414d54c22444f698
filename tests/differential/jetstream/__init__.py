"""Tests of JetStream's API and of publishes to streams, compared with the real server."""
