"""The page's scripts, by Node.js where there is one."""

from __future__ import annotations

import json
import shutil
import subprocess

import numpy as np
import pytest
import trimesh

from pipeline.pages.page import HERE, asset, library
from pipeline.pages.shapes import FAR, STEPS, Shape, packed

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="runs a script of the page: needs Node.js")


def run(script: str) -> str:
    assert NODE
    return subprocess.run([NODE, "-"], input=script, capture_output=True, text=True, check=True, timeout=60).stdout


def test_the_library_comes_with_its_licence_and_ends_no_script() -> None:
    text = library()
    assert "Three.js Authors" in text and "MIT" in text[:200] and "</script" not in text
    assert len(text) < 1e6


def test_the_viewer_reads_what_is_packed() -> None:
    assert f"STEPS = {STEPS}, FAR = {FAR}" in asset("viewer.js")


@needs_node
@pytest.mark.parametrize("name", ["page.js", "viewer.js"])
def test_scripts_are_scripts(name: str) -> None:
    assert NODE
    subprocess.run([NODE, "--check", HERE / name], check=True, timeout=60)
    assert "</script" not in asset(name)


@needs_node
def test_a_shape_arrives_in_the_viewer() -> None:
    ball = trimesh.creation.icosphere(2, 0.4)
    moved = Shape(ball.vertices + np.array([0.05, 0, 0]), ball.faces)
    text = packed(moved, Shape(ball.vertices, ball.faces))
    reader = asset("viewer.js").partition("function coloured")[0]  # without what needs a page
    lists = "Object.fromEntries(Object.entries(shape).map(([name, values]) => [name, [...values]]))"
    found = json.loads(run(f"{reader}\nunpacked('{text}').then((shape) => console.log(JSON.stringify({lists})));"))
    mesh = trimesh.Trimesh(np.reshape(found["corners"], (-1, 3)), np.reshape(found["index"], (-1, 3)), process=False)
    assert mesh.is_watertight and mesh.volume == pytest.approx(ball.volume, rel=1e-2)
    np.testing.assert_allclose(mesh.center_mass, [0.05, 0, 0], atol=1e-3)
    assert len(found["far"]) == len(found["lost"]) == len(ball.vertices)
    assert max(found["far"]) / 255 * FAR == pytest.approx(0.05, abs=0.01)
