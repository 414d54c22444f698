"""Test suites of Stonechat."""
