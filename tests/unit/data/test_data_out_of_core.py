"""A file several times larger than the memory allowed goes through reading, cleaning and splitting."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = """
import json, resource, sys
from pathlib import Path
from mlops_assets.data.cleaning import prepare_dataset
from mlops_assets.data.dataset import CatalogueEntry
from mlops_assets.data.ingest import ingest
from mlops_assets.request.schema import DatasetRequest, Preprocessing, TrainingRequest

request = TrainingRequest(
    model_id="line", dataset=DatasetRequest(dataset_id="d"), learning_type="supervised", task_type="classification",
    algorithm="random_forest", preprocessing=Preprocessing(handle_outliers="zscore"),
)

def through(name):
    folder = Path(sys.argv[1])
    entry = CatalogueEntry(dataset_id="d", source="s", target="y")
    version = ingest(folder / f"{name}.csv", entry, folder / f"{name}-v", memory_limit="64MB")
    prepared = prepare_dataset(folder / f"{name}-v", request, "y", folder / f"{name}-out", memory_limit="64MB")
    return version, prepared, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

_, _, small = through("small")  # the interpreter with every library loaded
version, prepared, large = through("large")
print(json.dumps({"small": small, "large": large, "rows": version.rows, "split": prepared.rows, "removed": prepared.removed}))
"""


@pytest.mark.slow
def test_file_larger_than_memory_passes(tmp_path: Path) -> None:
    rows, repeated = 1_200_000, 1000
    pad = "x" * 40

    def line(i: int) -> str:
        return f"{i},{i * 7919 % 10007 / 7},{i % 97},{i * 31 % 1009},{pad}{i % 50000}{pad},{'no' if i % 9 else 'yes'}\n"

    for name, count in (("small", 2_000), ("large", rows)):
        with (tmp_path / f"{name}.csv").open("w", encoding="ascii") as stream:
            stream.write("a,b,c,d,text,y\n")
            stream.writelines(line(i) for i in range(count))
            stream.writelines(line(i) for i in range(repeated))
    size = (tmp_path / "large.csv").stat().st_size
    done = subprocess.run([sys.executable, "-c", RUN, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert (found["rows"], found["removed"]["duplicates"]) == (rows + repeated, repeated)
    assert sum(found["split"].values()) == rows - found["removed"]["outliers"]
    assert size > 2 * 64_000_000
    assert found["large"] - found["small"] < 0.75 * size, found
