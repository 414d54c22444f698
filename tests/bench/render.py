"""Renders the measurements of docs/benchmarks/core.json as Markdown between the markers of the page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .figures import DURABLE_PAIR, KV_ROWS, PAIR, PEAK, PER_CPU, RATE, client_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_NONE = "-"
_PACED = ("request-1", "request-64", "latency-50k")
"""Loads that wait for replies, or for the time at which the next message is due."""


def fill(page: str, measured: Mapping[str, Any]) -> str:
    """Returns the page with every measured part between its markers."""
    for name, render in PARTS.items():
        if name not in measured:
            continue
        begin, end = f"<!-- {name}: made by make bench -->", f"<!-- end of {name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if not pattern.search(page):
            raise ValueError(f"the page has no markers for {name}")
        part = measured[name]
        text = f"{begin}\n\n{_rough(part)}{render(part).strip()}\n\n{end}"
        page = pattern.sub(lambda _, text=text: text, page)  # type: ignore[misc]
    return page


def core(part: Mapping[str, Any]) -> str:
    """Renders the machine, the table of scenarios, and failures."""
    rows = []
    for scenario in part["scenarios"]:
        per_cpu = PER_CPU
        ours = _amount(scenario, per_cpu, "ours")
        theirs = _amount(scenario, per_cpu, "theirs")
        ratio = _ratio(scenario, per_cpu)
        waited = scenario["scenario"] not in _PACED and client_limits(scenario)
        rate = _ratio(scenario, RATE) + ("*" if waited else "")
        if scenario["scenario"] == "idle-10k":
            ours, theirs, ratio, rate = _NONE, _NONE, _NONE, _ratio(scenario, "connects/s")
        rows.append(
            [
                f"`{scenario['scenario']}`",
                scenario["about"],
                ours,
                theirs,
                ratio,
                rate,
                _ratio(scenario, "p50 us", digits=2),
                _ratio(scenario, "p99 us", digits=2),
                _ratio(scenario, PEAK, digits=2),
            ]
        )
    head = ["scenario", "what it does", "ours", "theirs", "CPU", "rate", "p50", "p99", "memory"]
    idle = next((s for s in part["scenarios"] if s["scenario"] == "idle-10k" and s["figures"]), None)
    failures = [f"- `{s['scenario']}` failed: {error}" for s in part["scenarios"] for error in s["errors"][:1]]
    return "\n\n".join(filter(None, [_taken(part), _table(head, rows), _idle(idle), "\n".join(failures)]))


def churn(part: Mapping[str, Any]) -> str:
    """Renders 1to1-128 with and without churn."""
    scenario = part["scenarios"][0]
    rows = [
        [
            label,
            _amount(scenario, PER_CPU, f"ours{suffix}"),
            _amount(scenario, PER_CPU, f"theirs{suffix}"),
            _ratio(scenario, PER_CPU, f"ours{suffix}/theirs{suffix}"),
            _ratio(scenario, RATE, f"ours{suffix}/theirs{suffix}"),
        ]
        for label, suffix in (("without", ""), (f"{part['rate']} SUB and UNSUB a second", "-churn"))
    ]
    kept = [f"{_ratio(scenario, PER_CPU, f'{name}-churn/{name}')} ({name})" for name in ("ours", "theirs")]
    done = ", ".join(f"{rate[0]:.0f} ({name})" for name, rate in part["confirmed"].items())
    table = _table(["churn", "ours", "theirs", "CPU", "rate"], rows)
    return (
        f"{table}\n\nMessages per CPU second, with churn over without: {', '.join(kept)}. SUBs a second, and as many "
        f"UNSUBs, that the server confirmed: {done}."
    )


def cores(part: Mapping[str, Any]) -> str:
    """Renders rate and processor time for each number of processors."""
    rows = [
        [f"`{scenario['scenario']}`", str(count)]
        + [_amount(scenario, RATE, f"{name}-{count}") for name in ("ours", "theirs")]
        + [_ratio(scenario, metric, f"ours-{count}/theirs-{count}") for metric in (RATE, PER_CPU)]
        + [_ratio(scenario, RATE, f"{name}-{count}/{name}-1") if count > 1 else "1" for name in ("ours", "theirs")]
        + [_plain(scenario, "server cores", f"ours-{count}"), _plain(scenario, "client cores", f"ours-{count}")]
        for scenario in part["scenarios"]
        for count in part["steps"]
    ]
    head = ["scenario", "cores", "ours msgs/s", "theirs msgs/s", "rate", "CPU"]
    return _table([*head, "ours over one core", "theirs over one core", "our server's cores", "the load's cores"], rows)


def interpreter(part: Mapping[str, Any]) -> str:
    """Renders the results of the loop in its three settings."""
    labels = {
        "idle": "idle server in the process",
        "beside": "server in another process, under load",
        "inside": "server in the process, under the same load",
    }
    rows = []
    for name, label in labels.items():
        figures = part["figures"][name]
        rows.append(
            [label, _number(figures["messages/s"][0]), _number(figures["steps/s"][0])]
            + [f"{figures[key][0]:.2f}" for key in ("cores", "server cores")]
            + [_number(figures["steps/cpu s"][0]), f"{figures['longest pause ms'][0]:.1f} ms"]
        )
    head = ["setting", "messages/s", "steps/s", "the loop's cores", "the server's cores", "steps per CPU second"]

    def share(pair: str, metric: str = "steps/s") -> str:
        middle, least, greatest = part["ratios"][pair][metric]
        return f"{middle:.3f} ({least:.3f} to {greatest:.3f})"

    table = _table([*head, "longest pause"], rows)
    return (
        f"{table}\n\nSpeed of the loop: {share('beside/idle')} of the idle one while the server works in another "
        f"process, {share('inside/idle')} while it works in the loop's own. **Own process over other process: "
        f"{share('inside/beside')}**; the share of the time in "
        f"which the loop ran at all {share('inside/beside', 'cores')}, its speed per CPU second "
        f"{share('inside/beside', 'steps/cpu s')}. Waiting for the interpreter's lock would lower the share. "
        f"Processors: {part['cpus']}."
    )


def startup(part: Mapping[str, Any]) -> str:
    """Renders start times, idle memory, and threads, descriptors and memory after the cycles."""
    inside = part["inside"]
    took, idle = part["start ms"], part["idle MiB"]
    rows = [
        ["from exec to INFO over TCP", _ms(took["ours"]), _ms(took["theirs"])],
        ["`stonechat.Server(port=0).start()`", _ms(inside["start ms"]), _NONE],
        ["resident when idle", f"{idle['ours'][0]:.1f} MiB", f"{idle['theirs'][0]:.1f} MiB"],
    ]
    before, after = inside["before"], inside["after"]
    cycles = _table(
        [f"{inside['cycles']} starts and stops in one Python process", "before", "after"],
        [[key, f"{before[key]:g}", f"{after[key]:g}"] for key in before],
    )
    table = _table(["", "ours", "theirs"], rows)
    return "\n\n".join([table, f"Times of {part['starts']} starts.", cycles])


def instructions(part: Mapping[str, Any]) -> str:
    """Renders the instructions per message and the most expensive functions."""
    names = list(part["servers"])
    rows = [
        [f"`{scenario}`", *(f"{found[name]['per message']:.0f}" for name in names)]
        + ([f"{found[names[-1]]['per message'] / found[names[0]]['per message']:.2f}"] if len(names) > 1 else [])
        for scenario, found in part["scenarios"].items()
    ]
    text = [_table(["scenario", *names, *([f"{names[-1]} over {names[0]}"] if len(names) > 1 else [])], rows)]
    for scenario, found in part["scenarios"].items():
        for name in names:
            if found[name]["top"]:
                lines = "\n".join(found[name]["top"])
                text.append(f'??? note "Where they go: {scenario}, {name}"\n\n' + _indent(f"```text\n{lines}\n```"))
    return "\n\n".join(text)


def kv(part: Mapping[str, Any]) -> str:
    """Renders the machine, a row for each figure with a goal, and failures."""
    scenarios = {scenario["scenario"]: scenario for scenario in part["scenarios"]}
    rows = [
        [
            row.label,
            _amount(scenarios[row.scenario], row.metric, "ours"),
            _amount(scenarios[row.scenario], row.metric, "theirs"),
            _ratio(scenarios[row.scenario], row.metric, digits=2),
            _ratio(scenarios[row.scenario], row.metric, DURABLE_PAIR, digits=2),
            row.goal,
        ]
        for row in KV_ROWS
        if row.scenario in scenarios
    ]
    head = ["", "ours", "theirs", "ours/theirs", "ours durable/theirs", "to reach"]
    failures = [f"- `{s['scenario']}` failed: {error}" for s in part["scenarios"] for error in s["errors"][:1]]
    plot = "![Ratios, ours and nats-server's](kv.svg)"
    return "\n\n".join(filter(None, [_taken(part), _table(head, rows), plot, "\n".join(failures)]))


PARTS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "core": core,
    "churn": churn,
    "cores": cores,
    "interpreter": interpreter,
    "startup": startup,
    "instructions": instructions,
    "kv": kv,
}


def _rough(part: Mapping[str, Any]) -> str:
    taken = part.get("taken", {})
    if not taken.get("rough"):
        return ""
    size = f" at {taken['scale']:g} of the size" if taken.get("scale", 1) < 1 else ""
    return (
        '!!! warning "Rough"\n\n'
        f"    Measured with {taken['runs']} run(s) of {taken['secs']:g} s{size}, which is too little to quote. "
        "`make bench` replaces this part.\n\n"
    )


def _taken(part: Mapping[str, Any]) -> str:
    taken = part["taken"]
    machine = taken["machine"]
    rows = [
        ["machine", f"{machine['model']}, {machine['cpus']} cores, {machine['memory_gib']} GiB"],
        ["kernel, Python", f"Linux {machine['kernel']}, Python {machine['python']}"],
        ["ours", taken["ours"]],
        ["theirs", taken["theirs"]],
        ["measured", f"{taken['date']}, {taken['runs']} run(s) of {taken['secs']:g} s, medians"],
    ]
    return _table(["", ""], rows)


def _idle(scenario: Mapping[str, Any] | None) -> str:
    if scenario is None:
        return ""
    figures = scenario["figures"]
    memory, later = (
        " against ".join(f"{figures[key][name][0]:.1f}" for name in ("ours", "theirs"))
        for key in ("KiB/conn", "KiB/conn later")
    )
    connect = _ratio(scenario, "cpu us/connect", digits=2)
    return (
        f"`idle-10k`: {memory} KiB a connection, {later} KiB after the first keep-alive; CPU per connect {connect} "
        'of theirs. Its column "rate" is connects a second.'
    )


def _amount(scenario: Mapping[str, Any], metric: str, server: str) -> str:
    found = scenario["figures"].get(metric, {}).get(server, [])
    return _number(found[0]) if found else _NONE


def _plain(scenario: Mapping[str, Any], metric: str, server: str) -> str:
    found = scenario["figures"].get(metric, {}).get(server, [])
    return f"{found[0]:.2f}" if found else _NONE


def _ratio(scenario: Mapping[str, Any], metric: str, pair: str = PAIR, digits: int = 1) -> str:
    found = scenario["ratios"].get(metric, {}).get(pair, [])
    if not found:
        return _NONE
    return f"{found[0]:.{digits if found[0] >= 1.95 else 2}f}"


def _number(value: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _ms(figures: Sequence[float]) -> str:
    return f"{figures[0]:.1f} ms ({figures[1]:.1f} to {figures[2]:.1f})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
