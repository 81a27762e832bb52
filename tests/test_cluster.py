"""A stage on a Dask cluster: a real scheduler and two workers on loopback, one of which is killed on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline import catalog
from pipeline.geometry.meshes import Mesh
from pipeline.records import catalogue, records
from pipeline.records.parallel import parallel
from pipeline.runtime.params import Dataset
from tests.meshes import CHAIR, box, write_v2

if TYPE_CHECKING:  # it takes a second to import, and other tests do not need it
    from distributed import Client

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]
MODELS = {(CHAIR, f"m{i}"): box(1, 1, 1 + i) for i in range(20)}


@pytest.fixture
def nanny() -> bool:
    """Whether workers that end are started again."""
    return False


@pytest.fixture
def cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nanny: bool
) -> Iterator[tuple[Client, list[subprocess.Popen]]]:
    """A client and the processes of the workers, whose code is found by PYTHONPATH."""
    from distributed import Client

    monkeypatch.chdir(tmp_path)
    started: list[subprocess.Popen] = []

    def start(command: str, *options: str) -> subprocess.Popen:
        arguments = [sys.executable, "-m", f"distributed.cli.dask_{command}", "--scheduler-file", "scheduler.json"]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        started.append(
            subprocess.Popen([*arguments, *options], env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
        )
        return started[-1]

    start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    kind = "--nanny" if nanny else "--no-nanny"
    options = ("--nthreads", "1", "--no-dashboard", kind, "--host", "127.0.0.1")
    workers = [start("worker", *options) for _ in range(2)]
    deadline = time.monotonic() + 60
    while not (tmp_path / "scheduler.json").is_file():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with Client(scheduler_file="scheduler.json") as client:
        client.wait_for_workers(2, timeout=60)
        yield client, workers
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)  # a nanny's worker as well
        process.wait()


def misbehave(how: str) -> str:
    if how == "hang":
        time.sleep(1000)
    if how == "exit":
        os._exit(1)
    return how


@pytest.mark.parametrize("nanny", [True])
def test_calls_that_hang_or_end_their_workers_are_lost(
    cluster: tuple[Client, list[subprocess.Popen]], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _ = cluster
    monkeypatch.setenv("ONEVIEW_SCHEDULER", client.scheduler_info()["address"])
    monkeypatch.setenv("ONEVIEW_MODEL_SECONDS", "2")
    calls = [("a",), ("hang",), ("exit",), ("b",)]
    results = dict(parallel(misbehave, calls, "test"))
    assert (results[0], results[3]) == ("a", "b")
    assert [results[n].reason for n in (1, 2)] == ["timeout", "crashed"]


def measure(model: str, mesh: Mesh, affine: object, params: str) -> records.Record:
    """Depth of the mesh; takes its time, and leaves a mark in the folder `params` that names its process."""
    Path(params, f"{model.split('/')[1]} {os.getpid()}").touch()
    time.sleep(0.1)
    return {"depth": mesh.vertices[:, 2].max()}


def test_a_killed_worker_loses_nothing(
    tmp_path: Path, cluster: tuple[Client, list[subprocess.Popen]], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, workers = cluster
    root = write_v2(tmp_path / "raw", MODELS)
    catalog.catalog(Dataset(str(root), "hash", (CHAIR,), 0))
    entries = catalogue.read_table(catalogue.CATALOG / f"{CHAIR}.csv")
    marks = tmp_path / "marks"
    marks.mkdir()
    job = records.Job("measure", measure, str(marks))
    records.make(job, root, entries, tmp_path / "local.zip", 0)
    for path in [*marks.iterdir(), *(tmp_path / "data/cache/measure").rglob("*.npz")]:
        path.unlink()

    address = client.scheduler_info()["address"]
    monkeypatch.setenv("ONEVIEW_SCHEDULER", address)
    script = (
        "from pathlib import Path; from pipeline.records import catalogue, records;"
        "from tests.test_cluster import measure;"
        f"entries = catalogue.read_table(Path({str(catalogue.CATALOG / f'{CHAIR}.csv')!r}));"
        f"job = records.Job('measure', measure, {str(marks)!r});"
        f"records.make(job, Path({str(root)!r}), entries, Path('cluster.zip'), 0)"
    )
    run = subprocess.Popen([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": str(ROOT)})
    deadline = time.monotonic() + 60
    while len(list(marks.iterdir())) < 5 or len({mark.name.split()[1] for mark in marks.iterdir()}) < len(workers):
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.02)
    workers[0].send_signal(signal.SIGKILL)
    assert run.wait(60) == 0
    made = [mark.name.split() for mark in marks.iterdir()]
    assert {pid for _, pid in made} == {str(worker.pid) for worker in workers}
    assert {name for name, _ in made} == {name for _, name in MODELS} and len(made) < len(MODELS) + 3
    assert (tmp_path / "cluster.zip").read_bytes() == (tmp_path / "local.zip").read_bytes()
