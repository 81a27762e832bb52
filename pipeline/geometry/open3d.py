"""Open3D without its plots for notebooks: `from pipeline.geometry.open3d import o3d`, not `import open3d`.

That imports dash, plotly and IPython along, two thirds of its time, for functions that nobody here calls. While Open3D
is imported, an empty module stands in for the one that has these functions.
"""

from __future__ import annotations

import sys
from types import ModuleType

empty = ModuleType("open3d.visualization.draw_plotly")
vars(empty).update(dict.fromkeys(("get_plotly_fig", "draw_plotly", "draw_plotly_server")))
sys.modules.setdefault(empty.__name__, empty)

import open3d as o3d  # noqa: E402, TID251

if sys.modules[empty.__name__] is empty:
    del sys.modules[empty.__name__]  # who asks for the plots by name gets them

__all__ = ["o3d"]
