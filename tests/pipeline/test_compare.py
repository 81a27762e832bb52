from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline import compare as stage
from pipeline.compare import BASELINES, compare
from pipeline.scoring.statistics import intervals

MODELS, VIEWS = 8, 3
CHAIR, PLANE = "03001627", "02691156"
Row = dict[str, str]


def truth(shape: int, view: int) -> float:
    """How well a shape can be told in a view: shapes differ a lot, views a little."""
    return 0.3 + 0.05 * shape + 0.01 * view


def write(
    name: str, score: Callable[[int, int], float], changed: Callable[[Row], Row | None] = lambda row: row
) -> Path:
    """samples.csv of 8 chairs and 8 airplanes of 3 views, the IoU as `score` says, the Chamfer distance 1 - IoU."""
    rows = []
    for index in range(2 * MODELS):
        for view in range(VIEWS):
            value = score(index % MODELS, view)
            row = {"synset": (PLANE, CHAIR)[index // MODELS], "model_id": f"m{index:02d}", "mesh": f"{index:012x}"}
            row |= {"view": str(view), "failed": str(int(value == 0)), "leaked": str(int(index in (0, 1)))}
            row |= {"iou": f"{value:.6f}", "chamfer_unsquared": f"{1 - value:.6f}", "f_score_1%": f"{value / 2:.6f}"}
            rows.append(changed(row))
    path = Path(f"data/scores/{name}/samples.csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = [row for row in rows if row]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(kept[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
    return path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Scores of system s, and of retrievals and baselines that it beats by 0.1 on every shape, but for the oracle."""
    monkeypatch.chdir(tmp_path)
    write("s", truth)
    for name in ("s_retrieval", *BASELINES):
        write(name, lambda shape, view: truth(shape, view) - 0.1)
    write("oracle", lambda shape, view: truth(shape, view) + 0.1)
    return tmp_path


def table(name: str) -> list[Row]:
    with Path(f"data/comparison/{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def pairs(a: str, b: str, scope: str, metric: str) -> list[Row]:
    return [r for r in table("pairs") if (r["a"], r["b"], r["scope"], r["metric"]) == (a, b, scope, metric)]


def pair(a: str, b: str, scope: str, metric: str) -> Row:
    (found,) = pairs(a, b, scope, metric)
    return found


def markdown() -> str:
    return Path("data/comparison/table.md").read_text()


def without(*metrics: str) -> Callable[[Row], Row]:
    return lambda row: row | dict.fromkeys(metrics, "")


def test_a_system_that_is_better_on_every_shape_beats(project, capsys):
    compare(["s"])
    for metric, difference in (("iou", 0.1), ("chamfer_unsquared", -0.1), ("f_score_1%", 0.05)):
        found = pair("s", "nearest_image", "overall", metric)
        assert [float(found[key]) for key in ("difference", "low", "high")] == pytest.approx([difference] * 3, abs=1e-6)
        assert (found["won"], found["shapes"]) == ("1.000000", "16")
    by_both = "**beats** +0.100 [+0.100, +0.100] | **beats** -0.100 [-0.100, -0.100] |"
    assert f"| s | nearest_image | {by_both}" in markdown() and f"| s | s_retrieval | {by_both}" in markdown()
    assert capsys.readouterr().out == Path("data/comparison/summary.txt").read_text() + "\n"


def test_a_system_that_is_worse_loses_and_one_that_is_as_good_can_not_be_told_apart(project):
    write("nearest_image", lambda shape, view: truth(shape, view) + 0.05)
    write("s_retrieval", lambda shape, view: truth(shape, view) + (0.1 if shape % 2 else -0.1))
    compare(["s"])
    assert "| s | nearest_image | loses -0.050 [-0.050, -0.050] | loses +0.050" in markdown()
    assert "| s | s_retrieval | unclear " in markdown()
    found = pair("s", "s_retrieval", "overall", "iou")
    assert float(found["low"]) < 0 < float(found["high"]) and found["won"] == "0.500000"
    write("s_retrieval", truth)
    compare(["s"])
    assert "| s | s_retrieval | unclear +0.000 [+0.000, +0.000] | unclear" in markdown()


def test_the_table_by_hand(project):
    write("t", lambda shape, view: 0.0 if (shape, view) == (0, 0) else truth(shape, view) + 0.02)
    write("t_retrieval", truth)
    compare(["s", "t"])
    rows = table("table")
    assert [row["name"] for row in rows] == ["t", "s", "s_retrieval", "t_retrieval", *BASELINES]
    assert [row["kind"] for row in rows[1:5]] == ["system", "retrieval", "retrieval", "baseline"]
    values = [truth(shape, view) for shape in range(MODELS) for view in range(VIEWS)]
    assert float(rows[1]["iou"]) == pytest.approx(np.mean(values), abs=1e-6)
    assert float(rows[0]["iou"]) == pytest.approx(np.mean(values) + 0.02 - (0.3 + 0.02) / len(values), abs=1e-6)
    assert [rows[0][key] for key in ("failures", "samples", "shapes")] == ["2", "48", "16"]
    shapes = [f"{index:012x}" for index in range(2 * MODELS) for _ in range(VIEWS)]
    mean, low, high = intervals(1 - np.array(values * 2)[:, None], shapes)[:, 0]
    names = ("chamfer_unsquared", "chamfer_unsquared_low", "chamfer_unsquared_high")
    assert [float(rows[1][name]) for name in names] == pytest.approx([mean, low, high], abs=2e-6)
    lines = markdown().splitlines()
    assert lines[0] == "| name | IoU ↑ | Chamfer ↓ | F-score 1% ↑ | failures |"
    assert lines[2].startswith("| t | 0.4") and lines[2].endswith(
        "2 of 48 |"
    )  # ahead, and can't be told from s: not bold
    assert f" {mean:.3f} [{low:.3f}, {high:.3f}] " in lines[3] and "**" not in lines[3]
    assert lines[9].startswith("| oracle | 0.5")  # better than all, and not bold


def test_bold_is_only_a_system_that_is_better_than_all_that_competes(project):
    """Only the oracle, which is told the truth, is better than s; what is as good does not let it win."""
    write("t", truth, lambda row: row | {"chamfer_unsquared": "0.9"})
    for name in ("t_retrieval", "nearest_image"):
        write(name, truth)
    compare(["s", "t"])
    lines = {line.split(" |")[0][2:]: line for line in markdown().split("\n\n")[0].splitlines()[2:]}
    assert not any("**" in line for line in lines.values())  # as good as the nearest image is no win
    write("nearest_image", lambda shape, view: truth(shape, view) - 0.001)
    for name in ("t", "t_retrieval"):
        write(name, lambda shape, view: truth(shape, view) - 0.1)
    compare(["s", "t"])
    lines = {line.split(" |")[0][2:]: line for line in markdown().split("\n\n")[0].splitlines()[2:]}
    assert lines["s"].count("**") == 6 and not any("**" in line for name, line in lines.items() if name != "s")
    starred = [line for line in summary() if "]*" in line]
    assert len(starred) == 1 and starred[0].startswith("s ") and starred[0].count("]*") == 2


def test_the_summary_says_in_a_sentence_who_is_better(project):
    compare(["s"])
    title, *rows = summary()[: 3 + len(BASELINES)]
    assert title.split("  ")[-1] == "failures" and [row.split()[0] for row in rows] == ["s", "s_retrieval", *BASELINES]
    assert summary()[-1] == "Beside looking up the nearest training image, by IoU s is better; by Chamfer s is better."
    write("t", lambda shape, view: truth(shape, view) - 0.1 + (0.1 if shape % 2 else -0.1))
    write("u", lambda shape, view: truth(shape, view) - 0.2)
    write("v", lambda shape, view: truth(shape, view) - 0.2, without("iou"))
    for name in ("t", "u", "v"):
        write(f"{name}_retrieval", truth)
    compare(["t", "u", "v"])
    sentence = " ".join(summary()[summary().index("") + 3 :])
    assert sentence == (
        "Beside looking up the nearest training image, by IoU no system is better, t is on a par, u is worse; "
        "by Chamfer no system is better, t is on a par, u, v are worse."
    )


def test_the_summary_fits_a_terminal(project):
    name = "r2n2_residual_gru_3"
    for one in (name, f"{name}_retrieval", *BASELINES):
        write(one, truth, lambda row: row | {"iou_32": row["iou"]})
    write(name, lambda shape, view: truth(shape, view) + 0.3, lambda row: row | {"iou_32": row["iou"]})
    compare([name])
    assert max(map(len, summary())) <= 100


def summary() -> list[str]:
    return Path("data/comparison/summary.txt").read_text().splitlines()


def test_scopes(project):
    write("nearest_image", lambda shape, view: truth(shape, view) - 0.1, lambda row: row | leaks(row))
    compare(["s"])
    wanted = ("s", "nearest_image", "iou")
    found = {r["scope"]: r for r in table("pairs") if (r["a"], r["b"], r["metric"]) == wanted}
    assert list(found) == ["overall", "airplane", "chair", "without_leaks"]
    assert [row["shapes"] for row in found.values()] == ["16", "8", "8", "14"]
    # Two leaked airplanes on which the other is better by 0.5, everywhere else s is by 0.1.
    by_hand = [(14 * 0.1 - 2 * 0.5) / 16, (6 * 0.1 - 2 * 0.5) / 8, 0.1, 0.1]
    assert [float(row["difference"]) for row in found.values()] == pytest.approx(by_hand, abs=1e-6)
    assert [float(row["won"]) for row in found.values()] == [14 / 16, 6 / 8, 1, 1]


def leaks(row: Row) -> Row:
    return {"iou": str(float(row["iou"]) + 0.6)} if row["leaked"] == "1" else {}


def test_every_two_names_meet_once(project):
    compare(["s"])
    names = [row["name"] for row in table("table")]
    met = [(row["a"], row["b"]) for row in table("pairs") if (row["scope"], row["metric"]) == ("chair", "iou")]
    assert met == [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]


def test_points_have_no_iou_and_are_judged_by_chamfer(project):
    write("p", lambda shape, view: truth(shape, view) + 0.05, without("iou"))
    write("q", lambda shape, view: truth(shape, view) + 0.2, without("iou"))
    for name in ("p_retrieval", "q_retrieval"):
        write(name, truth)
    compare(["p", "q", "s"])
    assert [row["name"] for row in table("table")][:3] == ["s", "q", "p"]
    assert {row["name"]: row["iou"] for row in table("table")}["q"] == ""
    assert markdown().splitlines()[3].startswith("| q |  | **0.")
    assert "| q | nearest_image |  | **beats** -0.300 [-0.300, -0.300] |" in markdown()
    assert not pairs("q", "p", "overall", "iou")
    assert pair("q", "p", "overall", "chamfer_unsquared")["won"] == "1.000000"


def test_rows_in_which_one_side_lacks_the_metric_are_left_out_of_it(project):
    write("s", truth, lambda row: row | {"iou": ""} if row["synset"] == PLANE or row["view"] != "0" else row)
    compare(["s"])
    assert pair("s", "oracle", "overall", "iou")["shapes"] == "8"
    assert not pairs("s", "oracle", "airplane", "iou")
    assert pair("s", "oracle", "overall", "chamfer_unsquared")["shapes"] == "16"
    assert float(table("table")[0]["iou"]) == pytest.approx(np.mean([truth(shape, 0) for shape in range(MODELS)]))


def test_models_of_one_mesh_are_one_shape(project):
    for name in ("s", "s_retrieval", *BASELINES):
        write(name, truth, lambda row: row | {"mesh": row["mesh"] if row["synset"] == CHAIR else "0" * 12})
    compare(["s"])
    assert pair("s", "oracle", "overall", "iou")["shapes"] == "9"
    assert pair("s", "oracle", "airplane", "iou")["shapes"] == "1"


def test_one_shape_tells_nothing(project):
    for name in ("s", "s_retrieval", *BASELINES):
        value = 0.5 if name == "s" else 0.4
        write(name, lambda *_, value=value: value, lambda row: row if row["model_id"] == "m00" else None)
    compare(["s"])
    assert "| s | nearest_image | unclear +0.100" in markdown()
    assert "| s | 0.500 | 0.500 | 0.250 |" in markdown()  # without an interval, and not in bold: it has beaten nobody
    assert {row["scope"] for row in table("pairs")} == {"overall", "airplane"}  # the only shape is a leaked one


def test_a_shape_without_a_mesh_is_itself(project):
    for name in ("s", "s_retrieval", *BASELINES):
        write(name, truth, lambda row: row | {"mesh": ""})
    compare(["s"])
    assert table("table")[0]["shapes"] == "16"


def test_the_same_scores_give_the_same_bytes(project):
    files = []
    for _ in range(2):
        compare(["s"])
        files.append({path.name: path.read_bytes() for path in Path("data/comparison").iterdir()})
    assert files[0] == files[1] and sorted(files[0]) == ["pairs.csv", "summary.txt", "table.csv", "table.md"]


def test_what_is_no_longer_selected_is_put_away(project, capsys):
    for name in ("t", "t_retrieval"):
        write(name, truth)
    for name in ("curves/s.csv", "curves/t.csv", "views/t.csv", "report/t/training.png", "metrics/t/overall.json"):
        Path("data", name).parent.mkdir(parents=True, exist_ok=True)
        Path("data", name).write_text(name)
    Path("data/report/index.html").touch()
    Path("data/checkpoints").mkdir()
    Path("data/checkpoints/t.pt").touch()
    for _ in range(2):  # the second time in place of what was put away before
        compare(["s"])
        assert capsys.readouterr().out.endswith("compare: no longer selected, now in data/old: t, t_retrieval\n")
        assert sorted(path.name for path in Path("data/scores").iterdir()) == sorted(["s", "s_retrieval", *BASELINES])
        old = {str(path.relative_to("data/old")) for path in Path("data/old").rglob("*") if path.is_file()}
        scores = {f"scores/{name}/samples.csv" for name in ("t", "t_retrieval")}
        assert old == {"curves/t.csv", "views/t.csv", "report/t/training.png", "metrics/t/overall.json", *scores}
        assert Path("data/curves/s.csv").exists() and Path("data/checkpoints/t.pt").exists()
        assert Path("data/report/index.html").exists()
        for name in ("t", "t_retrieval"):
            write(name, truth)
    compare(["s", "t"])
    assert "no longer" not in capsys.readouterr().out


def refused(message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare(["s"])
    assert not Path("data/comparison").exists()


def test_scores_that_are_missing_or_unusable_are_named(project):
    path = Path("data/scores/oracle/samples.csv")
    whole = path.read_text()
    for text, message in (
        (whole.splitlines()[0], "expected a row a sample, found none"),
        (whole + whole.splitlines()[1], "expected every sample once, got 02691156/m00/0 twice"),
        (whole.replace("mesh", "mash"), "expected a column 'mesh', got synset, model_id, mash, view"),
        (whole.replace("0.400000,0.600000", "none,0.6", 1), "02691156/m00/0: expected a number as iou, got 'none'"),
        (whole.replace("0.400000,0.600000", "inf,0.6", 1), "02691156/m00/0: expected a number as iou, got 'inf'"),
    ):
        path.write_text(text)
        refused(rf"^data/scores/oracle/samples\.csv: {message}")
    path.unlink()
    refused(r"data/scores/oracle/samples\.csv: expected the scores of oracle, found no file")


def test_samples_that_differ_are_named(project):
    write("oracle", truth, lambda row: None if (row["model_id"], row["view"]) == ("m09", "1") else row)
    refused(r"oracle/samples\.csv: expected the same .* as in data/scores/s/samples\.csv, lacks 03001627/m09/1$")
    write("oracle", truth)
    write("s", truth, lambda row: None if row["model_id"] == "m09" else row)
    refused(r"s/samples\.csv: .* as in data/scores/s_retrieval/samples\.csv, lacks 03001627/m09/0 and 2 more$")


def test_the_command_takes_the_selected_systems(project):
    Path("params.yaml").write_text("selected_systems:\n  s: r3d\n  t: r3d\n")
    environment = os.environ | {"PYTHONPATH": str(Path(stage.__file__).parents[1])}
    command = [sys.executable, "-m", "pipeline.compare"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 1
    assert result.stderr == "error: data/scores/t/samples.csv: expected the scores of t, found no file\n"


def test_iou_is_judged_on_the_grid_that_all_share(project):
    def lower(shape: int, view: int) -> float:
        return truth(shape, view) - 0.1

    write("s", truth, lambda row: row | {"iou_32": row["iou"]})
    for name in ("s_retrieval", *BASELINES):
        write(name, lower, lambda row: row | {"iou_32": f"{float(row['iou']) + 0.3:.6f}"})
    compare(["s"])
    assert "| s | nearest_image | loses -0.200 [-0.200, -0.200] | **beats**" in markdown()


def test_systems_are_ranked_on_the_grid_that_all_share_and_a_coarse_one_is_no_match(project):
    for name in ("s_retrieval", "t_retrieval", "c_retrieval", *BASELINES):
        write(name, truth, lambda row: row | {"iou_32": row["iou"]})
    write("s", truth, lambda row: row | {"iou_32": str(float(row["iou"]) + 0.01)})
    coarse = write("t", lambda shape, view: truth(shape, view) + 0.1, lambda row: row | {"iou_32": "0.1"})
    write("c", lambda shape, view: truth(shape, view) + 0.2, without("iou_32"))
    compare(["t", "s", "c"])
    assert coarse.is_file() and [row["name"] for row in table("table")][:3] == ["s", "t", "c"]
    lines = {line.split(" |")[0]: line for line in markdown().split("\n\n")[0].splitlines()}
    assert "**" not in lines["| t"].split(" | ")[1] and "**" in lines["| s"].split(" | ")[2]
    assert "| c | nearest_image |  | **beats** -0.2" in markdown()


def scored(name: str, score: Callable[[int, int], float], terms: str) -> None:
    """Scores of another's method, or of a system, with the terms that they were taken on."""
    path = write(name, score).parent / "figures.json"
    path.write_text(json.dumps({"overall": {"terms": terms}}))


def test_methods_of_others_stand_beside_the_systems(project, capsys):
    scored("s", truth, "now")
    scored("other@longest_side", lambda shape, view: truth(shape, view) + 0.05, "now")
    scored("other@scaled_icp", lambda shape, view: truth(shape, view) + 0.2, "now")
    compare(["s"])
    rows = {row["name"]: row["kind"] for row in table("table")}
    assert list(rows)[:4] == ["other@scaled_icp", "other@longest_side", "s", "s_retrieval"]
    assert (rows["other@longest_side"], rows["s"]) == ("method", "system")
    assert float(pair("other@longest_side", "s", "overall", "iou")["difference"]) == pytest.approx(0.05, abs=1e-6)
    assert {row["scope"] for row in table("pairs") if row["a"] == "other@longest_side"} >= {"without_leaks", "chair"}
    # What was fitted to the truth does not compete, and keeps nobody from being the best.
    assert "| other@longest_side | **" in markdown() and "| other@scaled_icp | **" not in markdown()
    sentence = capsys.readouterr().out
    assert "other@longest_side, s are better" in sentence and "scaled_icp" not in sentence.split("Beside")[1]


def test_methods_stay_and_are_left_out_where_they_were_scored_on_other_terms(project, capsys):
    scored("s", truth, "now")
    scored("other@as_is", truth, "then")
    write("half@as_is", truth, lambda row: row if row["view"] == "0" else None)
    Path("data/scores/half@as_is/figures.json").write_text('{"overall": {}}')
    compare(["s"])
    assert not [row for row in table("table") if "@" in row["name"]]
    out = capsys.readouterr().out
    assert (
        "compare: left out, scored on other shards or by other parameters, so score again: half@as_is, other@as_is"
        in out
    )
    assert Path("data/scores/other@as_is/samples.csv").is_file() and not Path("data/old").exists()
