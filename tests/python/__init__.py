"""Tests of the Python package, installed from its wheel."""
