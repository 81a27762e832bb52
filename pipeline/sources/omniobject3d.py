"""OmniObject3D's scans: `raw_scans/<category>/<category>_001/Scan/Scan.obj`, unpacked from its archives.

How they stand is documented nowhere: +Y is taken for up and -Z for the front, `dataset.up` says otherwise.

Source: Wu et al., "OmniObject3D", CVPR 2023, arXiv 2301.07525.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.sources.layout import Found, Layout, ModelRef, slug, turning

MESH = re.compile(r"/(?P<category>[^/]+)/(?P<model_id>(?P=category)_\d+)/Scan/Scan\.obj$")


def scan(root: Path, locations: Sequence[str]) -> list[Found]:
    scans = [location for location in locations if location.endswith("/Scan/Scan.obj")]
    matched = [(location, match) for location in scans if (match := MESH.search("/" + location))]
    return [
        Found(ModelRef(slug(match["category"]), match["model_id"], LAYOUT.name, location))
        for location, match in matched
    ]


LAYOUT = Layout("omniobject3d", turning("y", "-z"), scan)
