"""The project's benchmarks: `make bench` measures, and renders docs/benchmarks/core.md from what it measured.

Two servers get the same load in turn: the one of this clone and the real nats-server. `core`, `churn` and `cores` drive
natsload, the load generator; `interpreter`, `startup` and `instructions` bring their own load. Each part writes
`build/bench/PART.json`; `report` gathers them in `docs/benchmarks/core.json` and renders the page and its plot.
"""
