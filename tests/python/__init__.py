"""The Python package, installed from its wheel."""
