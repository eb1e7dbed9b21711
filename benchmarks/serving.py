"""The full model server beside FastAPI + uvicorn + onnxruntime written bare: requests a second and latency.

Both serve the same graph (XGBoost, 100 trees, breast cancer, 30 inputs) in one worker process with one thread a request.
Ours validates every value and counts metrics; the peer reads the JSON, runs the session and answers, nothing else.
A load generator in a process of its own keeps 32 connections busy, one request at a time on each. Rounds alternate.

    python benchmarks/serving.py            # writes benchmarks/results/serving.json
    python benchmarks/serving.py --seconds 1 --rounds 2 --out /tmp/serving.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from machine import cpu_model, installed

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "benchmarks" / "results" / "serving.json"
CONNECTIONS = 32
LIBRARIES = (
    "granian",
    "msgspec",
    "onnxruntime",
    "numpy",
    "fastapi",
    "uvicorn",
    "httptools",
    "uvloop",
    "orjson",
    "xgboost-cpu",
    "onnxmltools",
)


def build(folder: Path) -> tuple[Path, list[dict[str, float]]]:
    """A package of the model, made as the platform makes it, and the rows to ask about."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType
    from sklearn.datasets import load_breast_cancer
    from xgboost import XGBClassifier

    from mlops_assets.serving.package import Examples, ModelMetadata
    from mlops_assets.serving.packaging import build_package
    from mlops_assets.tasks.interface import InputField, Signature

    data = load_breast_cancer()
    names, features = [str(name) for name in data.feature_names], data.data.astype(np.float32)
    model = XGBClassifier(n_estimators=100, max_depth=4, random_state=42, n_jobs=1).fit(features, data.target)
    trees = convert_xgboost(model, initial_types=[("features", FloatTensorType([None, len(names)]))], target_opset=15)
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in names]
    nodes = [helper.make_node("Concat", names, ["features"], axis=1), *trees.graph.node]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
    ]
    graph = helper.make_graph(nodes, "breast_cancer", inputs, outputs, initializer=list(trees.graph.initializer))
    exported = helper.make_model(graph, opset_imports=list(trees.opset_import), ir_version=trees.ir_version)
    rows = [dict(zip(names, map(float, row), strict=True)) for row in features[:200]]
    chances = model.predict_proba(features[:200]).astype(float)
    classes = tuple(str(name) for name in data.target_names)
    export = folder / "export"
    export.mkdir()
    onnx.save(exported, export / "model.onnx")
    fields = tuple(InputField(name=name, kind="number", required=True, example=rows[0][name]) for name in names)
    signature = Signature(task_type="classification", inputs=fields, classes=classes, target="diagnosis")
    examples = Examples(
        rows=tuple(rows),
        labels=tuple(classes[int(p[1] > 0.5)] for p in chances),
        probabilities=tuple(map(tuple, chances.tolist())),
    )
    (export / "signature.json").write_text(signature.model_dump_json())
    (export / "examples.json").write_text(examples.model_dump_json())
    metadata = ModelMetadata(
        model_id="breast-cancer",
        version="v1.0.0",
        training_id="benchmark",
        algorithm="xgboost",
        task_type="classification",
        hyperparameters={"n_estimators": 100},
        metrics={},
        dataset_id="breast_cancer",
        dataset_version="sklearn",
        plan_digest="",
        code_version="",
        created_at="",
    )
    build_package(export, metadata, folder / "package")
    return folder / "package", rows


def serve_peer(package: Path, port: int) -> None:
    """FastAPI + uvicorn + onnxruntime as one would write it by hand, without a pydantic model and with orjson."""
    import numpy as np
    import onnxruntime
    import orjson
    import uvicorn
    from fastapi import FastAPI, Request, Response

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(package / "model.onnx"), options, providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    classes = json.loads((package / "signature.json").read_text())["classes"]
    app = FastAPI()

    async def ping() -> dict[str, str]:
        return {"status": "healthy"}

    async def invocations(request: Request) -> Response:
        """Nothing is validated: a row without a field is an error 500."""
        rows = orjson.loads(await request.body())["rows"]
        feeds = {name: np.array([[row[name]] for row in rows], dtype=np.float32) for name in names}
        labels, probabilities = session.run(["label", "probabilities"], feeds)
        predictions = [
            {"label": classes[label], "probabilities": dict(zip(classes, row, strict=True))}
            for label, row in zip(labels.tolist(), probabilities.tolist(), strict=True)
        ]
        return Response(orjson.dumps({"predictions": predictions}), media_type="application/json")

    # Not by decorator: with postponed annotations FastAPI cannot resolve names that are local to this function.
    invocations.__annotations__ = {"request": Request, "return": Response}
    app.add_api_route("/ping", ping, methods=["GET"])
    app.add_api_route("/invocations", invocations, methods=["POST"], response_model=None)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False, workers=1)


class Connection(asyncio.Protocol):
    """One connection that asks again as soon as it is answered."""

    def __init__(self, requests: list[bytes], first: int, until: float, latencies: list[float]) -> None:
        self.requests, self.next, self.until, self.latencies = requests, first, until, latencies
        self.errors = 0
        self.buffer = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        """Send the first request once the connection stands."""
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        """Send the next request and note the moment."""
        self.started = time.perf_counter()
        self.transport.write(self.requests[self.next % len(self.requests)])
        self.next += 1

    def data_received(self, data: bytes) -> None:
        """Once the answer is whole, note its latency and ask again until the time is over."""
        self.buffer = self.buffer + data if self.buffer else data
        head = self.buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self.buffer.lower().find(b"content-length:", 0, head)
        length = int(self.buffer[at + 15 : self.buffer.find(b"\r\n", at)])
        if len(self.buffer) < head + 4 + length:
            return
        now = time.perf_counter()
        self.latencies.append(now - self.started)
        self.errors += not self.buffer.startswith(b"HTTP/1.1 200")
        self.buffer = b""
        if now < self.until:
            self.ask()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """End this connection; one that broke is an error."""
        self.errors += error is not None
        if not self.done.done():
            self.done.set_result(None)


async def load(port: int, seconds: float, bodies: list[bytes]) -> dict[str, float]:
    """Keep the connections busy: requests a second over ``seconds``, latencies in ms, errors, our own share of a core."""
    head = "POST /invocations HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    requests = [(head % len(body)).encode() + body for body in bodies]
    latencies: list[float] = []
    loop = asyncio.get_running_loop()
    started, own = time.perf_counter(), time.process_time()
    until = started + seconds
    opened = [
        await loop.create_connection(lambda first=i * 7: Connection(requests, first, until, latencies), "127.0.0.1", port)
        for i in range(CONNECTIONS)
    ]
    await asyncio.gather(*(protocol.done for _, protocol in opened))
    wall = time.perf_counter() - started
    ordered = sorted(latencies)

    def percentile(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000

    return {
        "requests_per_second": len(latencies) / wall,
        "p50_ms": percentile(0.50),
        "p95_ms": percentile(0.95),
        "p99_ms": percentile(0.99),
        "errors": sum(protocol.errors for _, protocol in opened),
        "generator_cpu_share": (time.process_time() - own) / wall,
    }


def run_load(port: int, seconds: float, rows_file: Path) -> None:
    """The load generator's process: print one JSON object."""
    rows = json.loads(rows_file.read_text())
    bodies = [json.dumps({"rows": [row]}).encode() for row in rows]
    print(json.dumps(asyncio.run(load(port, seconds, bodies))))


@contextmanager
def serving(command: list[str], port: int) -> Iterator[None]:
    """A server process that answers, ended afterwards."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen([sys.executable, *command], env=environment, cwd=REPOSITORY)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)


def free_port() -> int:
    """A port of the loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def measure(port: int, seconds: float, rows_file: Path) -> dict[str, float]:
    """What a load generator in a process of its own measures of the server at ``port``."""
    command = [sys.executable, __file__, "--load", str(port), "--seconds", str(seconds), "--rows", str(rows_file)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    result: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, env=environment).stdout)
    return result


def compare(rounds: int, seconds: float, out: Path) -> None:
    """Alternate the two servers and write the medians."""
    load_before = round(os.getloadavg()[0], 2)
    with tempfile.TemporaryDirectory() as scratch:
        package, rows = build(Path(scratch))
        rows_file = Path(scratch) / "rows.json"
        rows_file.write_text(json.dumps(rows))
        ports = {"ours": free_port(), "fastapi": free_port()}
        ours = ["-m", "mlops_assets.serving", "--package", str(package), "--port", str(ports["ours"])]
        peer = [__file__, "--peer", str(package), "--port", str(ports["fastapi"])]
        measured: dict[str, list[dict[str, float]]] = {name: [] for name in ports}
        with serving(ours, ports["ours"]), serving(peer, ports["fastapi"]):
            for port in ports.values():
                measure(port, min(1.0, seconds), rows_file)  # warm-up, not counted
            for number in range(rounds):
                for name, port in ports.items():
                    result = measure(port, seconds, rows_file)
                    measured[name].append(result)
                    print(
                        f"round {number + 1} {name:8} {result['requests_per_second']:8.0f} req/s  p95 {result['p95_ms']:6.1f} ms",
                        flush=True,
                    )
    medians = {
        name: {key: statistics.median(r[key] for r in results) for key in results[0]} for name, results in measured.items()
    }
    ratio = medians["ours"]["requests_per_second"] / medians["fastapi"]["requests_per_second"]
    print(f"\n{'median of ' + str(rounds):14}{'req/s':>9}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'errors':>8}")
    for name, row in medians.items():
        numbers = (
            f"{row['requests_per_second']:9.0f}{row['p50_ms']:9.1f}{row['p95_ms']:9.1f}{row['p99_ms']:9.1f}{row['errors']:8.0f}"
        )
        print(f"{name:14}{numbers}")
    print(f"ours / fastapi: {ratio:.2f}")
    content = {
        "benchmark": "serving",
        "what": "POST /invocations, one row of 30 numbers, XGBoost 100 trees; ours with validation and metrics, the peer bare",
        "command": f"python benchmarks/serving.py --rounds {rounds} --seconds {seconds:g}",
        "machine": {
            "processor": cpu_model(),
            "cores": os.cpu_count(),
            "platform": platform.platform(),
            "python": platform.python_version(),
            "load_average_before": load_before,
        },
        "versions": {name: installed(name) for name in LIBRARIES},
        "connections": CONNECTIONS,
        "rounds": rounds,
        "seconds": seconds,
        "median": medians,
        "ratio_requests_per_second": ratio,
        "target": {"requests_per_second": 1000, "p95_ms": 100, "ratio": 1.0},
        "all_rounds": measured,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(content, indent=2) + "\n")
    print(f"written: {out}")


def main() -> None:
    """Compare the servers, or be the peer or the load generator that a comparison has started."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--peer", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--load", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peer is not None:
        serve_peer(given.peer, given.port)
    elif given.load is not None:
        run_load(given.load, given.seconds, given.rows)
    else:
        compare(given.rounds, given.seconds, given.out)


if __name__ == "__main__":
    main()
