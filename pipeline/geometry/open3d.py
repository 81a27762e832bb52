"""Open3D without its plots for notebooks: `from pipeline.geometry.open3d import o3d`, not `import open3d`.

That imports dash, plotly and IPython along, two thirds of its time, for functions that nobody here calls. While Open3D
is imported, an empty module stands in for the one that has these functions.
"""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np

empty = ModuleType("open3d.visualization.draw_plotly")
vars(empty).update(dict.fromkeys(("get_plotly_fig", "draw_plotly", "draw_plotly_server")))
sys.modules.setdefault(empty.__name__, empty)

import open3d as o3d  # noqa: E402, TID251

if sys.modules[empty.__name__] is empty:
    del sys.modules[empty.__name__]  # who asks for the plots by name gets them

__all__ = ["o3d", "scene"]


def scene(vertices: np.ndarray, faces: np.ndarray | None = None, threads: int = 1) -> o3d.t.geometry.RaycastingScene:
    """Structure for rays and distances over triangles: vertices (N, 3) and faces (M, 3); without faces, of each three.

    `threads` are those that build it, 0 for as many as there are cores.
    """
    corners = np.ascontiguousarray(vertices, np.float32).reshape(-1, 3)
    found = np.arange(len(corners)).reshape(-1, 3) if faces is None else faces
    made = o3d.t.geometry.RaycastingScene(nthreads=threads)
    made.add_triangles(o3d.core.Tensor(corners), o3d.core.Tensor(np.ascontiguousarray(found, np.uint32)))
    return made
