"""What README, docs/ and other pages name, against the project: commands, files, links, parameters, settings."""

from __future__ import annotations

import argparse
import configparser
import fnmatch
import importlib
import itertools
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import __main__
from pipeline.runtime import params

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in sorted(
        [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("data/*.md"), *ROOT.glob("data/weights/*.md")]
    )
}
TOPS = ("pipeline", "model", "tests", "benchmarks", "docs", "data", ".ci")
FILES = [str(path.relative_to(ROOT)) for top in TOPS[:4] for path in (ROOT / top).rglob("*.py")]
EXAMPLE = "model/silhouettes.py"  # which tests/docs/test_systems.py writes
VALUES = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
Command = list[str]


def blocks(text: str, language: str) -> list[str]:
    return [block for name, block in FENCED.findall(text) if name == language]


def spans(text: str) -> list[str]:
    """What stands between backticks."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", FENCED.sub("", text))]


def commands(text: str) -> list[Command]:
    """All that is called, word by word: without comments, variables set in front, and what may be left out."""
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    lines += [span for span in spans(text) if re.match(r"(\w+=\S+ )*(make|dvc|dask|python|oneview) ", span)]
    found = []
    for line in lines:
        words = shlex.split(re.sub(r" \[[^]]*\]", "", line), comments=True)
        for between, part in itertools.groupby(words, lambda word: word in ("&&", "|")):
            command = list(itertools.dropwhile(lambda word: re.match(r"\w+=", word), part))
            found += [command] if command and not between else []
    return found


def called(*program: str) -> list[Any]:
    """The arguments of all calls of a program, as parameters of a test."""
    size = len(program)
    found = {(page, *c[size:]) for page, text in PAGES.items() for c in commands(text) if c[:size] == list(program)}
    return [pytest.param(list(arguments), id=f"{page}: {' '.join(arguments)}") for page, *arguments in sorted(found)]


def test_every_command_is_one_that_a_test_knows() -> None:
    known = {
        "make",
        "dvc",
        "python",
        "torchrun",
        "dask",
        "git",
        "cd",
        "cp",
        "source",
        "cat",
        "sort",
        "head",
        "xdg-open",
        "oneview",
        "docker",
    }
    assert {command[0] for text in PAGES.values() for command in commands(text)} <= known


@pytest.mark.parametrize("arguments", called("make"))
def test_make_has_the_target(arguments: Command) -> None:
    targets = [word for word in arguments if "=" not in word]
    assert targets and set(targets) <= TARGETS
    for name in re.findall(r"-k (\w+)", " ".join(arguments)):
        assert any(re.search(rf"^def test_\w*{name}", (ROOT / file).read_text(), re.M) for file in FILES), name


def test_help_lists_every_target() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  ([\w-]+) +\w", shown, re.M)) == TARGETS - {"help"}


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("arguments", [*called("python", "-m"), *called("oneview")])
def test_a_module_takes_the_arguments(
    arguments: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Up to where they are read; nothing runs."""
    name, *rest = arguments
    name = f"pipeline.{name}" if name in __main__.commands() else name
    if name == "pytest":
        assert rest and all((ROOT / path).exists() for path in rest)
        return

    class Parsed(Exception):
        pass

    def parse(self: argparse.ArgumentParser, *given: Any, **named: Any) -> None:
        read(self, *given, **named)
        raise Parsed

    read = argparse.ArgumentParser.parse_args
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [name, *rest])
    with pytest.raises(Parsed):
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit, match="^0$"):
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    assert "usage: " in capsys.readouterr().out


@pytest.mark.parametrize("arguments", called("torchrun"))
def test_torchrun_takes_the_arguments(arguments: Command) -> None:
    parsed = importlib.import_module("torch.distributed.run").parse_args(arguments)
    assert parsed.module and parsed.training_script.replace(".", "/") + ".py" in FILES


@pytest.mark.parametrize("arguments", called("dvc"))
def test_dvc_takes_the_arguments(arguments: Command) -> None:
    cli = pytest.importorskip("dvc.cli")
    parsed = cli.parse_args(arguments)
    if arguments[0] == "repro":
        assert set(parsed.targets) <= {f"{name}@{item}" for name in STAGES for item in items(name)} | set(STAGES)
    for override in getattr(parsed, "params", []):  # of -S
        sign, name = re.match(r"([+~]?)([\w.]+)", override).groups()  # type: ignore[union-attr]
        assert known(name) == (sign != "+"), override


@pytest.mark.parametrize("arguments", called("dask"))
def test_dask_takes_the_arguments(arguments: Command) -> None:
    distributed = pytest.importorskip("distributed.cli")
    module = importlib.import_module(f"{distributed.__name__}.dask_{arguments[0]}")
    options = {name for option in module.main.params for name in option.opts}
    assert {word for word in arguments if word.startswith("--")} <= options


def items(stage: str) -> list[str]:
    """What a stage of dvc.yaml is repeated for."""
    name = STAGES[stage].get("foreach", "").strip("${}")
    return list(value(name)) if name else []


def known(name: str) -> bool:
    try:
        value(name)
    except KeyError:
        return False
    return True


def value(name: str) -> Any:
    """Of a dotted name in params.yaml; KeyError where it is not there."""
    found = VALUES
    for key in name.split("."):
        found = found[key]
    return found


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])  # which names what is gone
def test_files_are_there(page: str) -> None:
    named = spans(PAGES[page]) + [word for command in commands(PAGES[page]) for word in command]
    missing = [name for name in named if re.fullmatch(r"[\w.*<>/-]+", name) and not there(name)]
    assert not missing


def there(name: str) -> bool:
    """Whether a name that looks like a file of the project is one, or is made by a stage."""
    name = name.removesuffix("/")
    if name.startswith("data/") and not (ROOT / name).is_file():
        return any(fnmatch.fnmatch(name, f"{out}*") or out.startswith(name) for out in outs())
    if name.split("/")[0] in TOPS and "/" in name:
        return name == EXAMPLE or any(ROOT.glob(name))
    if name.endswith(".py"):
        return any(file.endswith(f"/{name}") for file in FILES) or (ROOT / name).is_file()
    return not name.endswith((".md", ".yaml", ".cfg", ".toml", ".cff")) or (ROOT / name).is_file()


def outs() -> list[str]:
    """All that stages make, `*` for what they are repeated for, and what they keep for themselves."""
    made = ["data/cache", "data/dvclive", "data/old", "data/tensorboard"]
    for stage in STAGES.values():
        stage = stage.get("do", stage)
        # An out with flags is a mapping of one key.
        named = [out if isinstance(out, str) else "".join(out) for out in [*stage["outs"], *stage.get("metrics", [])]]
        made += [re.sub(r"\$\{\w+\}", "*", name) for name in named]
    return made


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        if not target.startswith("https://"):
            name, _, anchor = target.partition("#")
            path = ((ROOT / page).parent / name).resolve() if name else ROOT / page
            assert path.exists(), target
            assert not anchor or anchor in headings(path.read_text(encoding="utf-8")), target


def headings(text: str) -> set[str]:
    return {re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in re.findall(r"^#+ (.*)$", text, re.M)}


@pytest.mark.parametrize("page", PAGES)
def test_parameters_systems_and_settings_are_there(page: str) -> None:
    sections = "|".join(params.SECTIONS)
    for span in spans(PAGES[page]):
        if found := re.match(rf"(?:{sections})\.(?!csv|py|json)[\w.]+", span):
            assert known(found[0]), span
        if re.fullmatch(r"(r3d|r2n2|vaegan3d|view2[a-z]+)(_\w+)?", span):
            assert span in VALUES["systems"] or f"model/{span}.py" in FILES, span
    for block in blocks(PAGES[page], "yaml"):
        for section, values in yaml.safe_load(block).items():
            assert section in params.SECTIONS
            assert section.endswith("systems") or all(known(f"{section}.{key}") for key in values)
    code = "".join((ROOT / file).read_text(encoding="utf-8") for file in FILES)
    assert all(setting in code for setting in re.findall(r"ONEVIEW_\w+", PAGES[page]))


@pytest.mark.parametrize(("name", "limit"), {"README.md": 160, "dvc.yaml": 170, "params.yaml": 174}.items())
def test_what_is_read_first_is_short(name: str, limit: int) -> None:
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= limit


def test_every_page_can_be_reached() -> None:
    linked = re.findall(r"\]\(([\w/.-]+\.md)", PAGES["README.md"])
    assert set(PAGES) - {"README.md"} == set(linked)


def test_one_version() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    version = setup["metadata"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version and citation["license"] == setup["metadata"]["license"]
    assert re.search(r"^## (.*)$", PAGES["CHANGELOG.md"], re.M)[1] == version  # type: ignore[index]


def test_the_map_has_every_file_of_the_pipeline() -> None:
    named = {name.rpartition("/")[2] for name in spans(PAGES["docs/map.md"])}
    assert {Path(file).name for file in FILES if re.match(r"pipeline/(?!families/)", file)} - {"__init__.py"} <= named
