"""What JetStream acknowledged, through crashes and damage."""
