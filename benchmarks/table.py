"""The table of the README, from the committed result files: `python benchmarks/table.py` brings it up to date."""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
BEGIN, END = "<!-- benchmark table: python benchmarks/table.py -->", "<!-- end of benchmark table -->"


def table() -> str:
    """One Markdown table over `results/loop.json` and `results/serving.json`."""
    loop = json.loads((HERE / "results" / "loop.json").read_text())
    serving = json.loads((HERE / "results" / "serving.json").read_text())
    seconds = {name: f"{row['median']:.1f} s" for name, row in loop["seconds"].items()}
    rate = {
        name: f"{row['requests_per_second']:,.0f} requests/s, p95 {row['p95_ms']:.1f} ms"
        for name, row in serving["median"].items()
    }
    rows = [
        ("Issue to answering endpoint, empty installation", seconds["loop, empty installation"], seconds["bare script"]),
        ("Issue to answering endpoint, next issue", seconds["loop, second issue"], seconds["bare script"]),
        (f"Model server, one row a request, {serving['connections']} connections", rate["ours"], rate["fastapi"]),
    ]
    lines = ["| | this project | bare peer |", "| --- | ---: | ---: |", *(f"| {a} | {b} | {c} |" for a, b, c in rows)]
    note = (
        "The first peer is a script that loads, fits, evaluates and saves the same forest and does nothing else; the second is "
        "FastAPI + uvicorn + onnxruntime without validation or metrics, in the same run "
        f"({serving['ratio_requests_per_second']:.2f} x)."
    )
    return "\n".join([*lines, "", note])


def with_table(document: str) -> str:
    """The document with the table between its two markers brought up to date."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
