"""One client sends expensive requests; the latency of other clients must stay low."""
