"""Helpers shared by the test suites: server programs, processes, raw protocol connections."""
