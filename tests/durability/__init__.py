"""Tests that acknowledged JetStream data survives crashes, and that damage is reported."""
