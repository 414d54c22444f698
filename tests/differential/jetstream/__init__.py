"""JetStream's API and publishes, against the real server."""
