from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import gpu


@pytest.mark.long
def test_no_job_keeps_the_others_from_running(capfd: pytest.CaptureFixture[str]) -> None:
    given = {
        "slow": (1, ["-c", "print('begun', flush=True); import time; time.sleep(60)"]),
        "failing": (60, ["-c", "raise SystemExit(3)"]),
        "good": (60, ["-c", "print('done')"]),
    }
    found = gpu.run(given)
    assert {name: job["status"] for name, job in found.items()} == {"slow": "time is up", "failing": 3, "good": 0}
    assert 1 <= found["slow"]["seconds"] < 30
    output = capfd.readouterr().out
    assert "begun" in output and "done" in output


def test_all_jobs_together_end_in_eight_minutes(tmp_path: Path) -> None:
    root = tmp_path / "data/shards"
    assert list(gpu.jobs(root)) == ["cuda tests", "train"]  # no checkpoint, no scoring
    (tmp_path / "data/checkpoints").mkdir(parents=True)
    (tmp_path / "data/checkpoints/r3d.pt").touch()
    jobs = gpu.jobs(root)
    assert list(jobs) == ["cuda tests", "train", "scoring"]
    assert sum(seconds for seconds, _ in jobs.values()) <= 480


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["benchmarks.gpu"])
    with pytest.raises(SystemExit, match="benchmarks.gpu: expected a CUDA device, found none"):
        gpu.main()
