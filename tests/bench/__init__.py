"""The project's benchmarks: `make bench` measures, and renders docs/benchmarks/core.md from the results.

Two servers get the same load in turn: the server of this clone and the real nats-server. `core`, `churn` and `cores`
run natsload, the load generator; `interpreter`, `startup` and `instructions` have their own load. Each part writes
`build/bench/PART.json`; `report` merges these files into `docs/benchmarks/core.json` and renders the page and its plot.
"""
