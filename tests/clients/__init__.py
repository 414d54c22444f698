"""NATS clients used as a user would, against our binary."""
