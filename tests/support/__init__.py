"""Helpers shared by the test suites: server binaries, processes, raw protocol connections."""
