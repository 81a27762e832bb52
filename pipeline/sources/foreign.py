"""Files of models that can't be read: counted by name, so that nobody takes what is found for all there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from pipeline.geometry.meshes import FORMATS
from pipeline.sources import tree

MODELS = (
    ".3dm .3ds .abc .blend .c4d .dwg .dxf .fbx .iges .igs .jt .lwo .ma .max .mb .skp .sldprt .step .stp "
    ".usd .usda .usdc .usdz .vrml .wrl .x .x3d"
).split()
READ = [f".{name}" for name in FORMATS]  # which are not read where they are compressed
ARCHIVES = ".7z .rar .tar .tar.bz2 .tar.gz .tar.xz .tar.zst .tbz2 .tgz .txz".split()
COMPRESSED = ".bz2 .gz .xz .zst".split()
ENDS = {*MODELS, *ARCHIVES, *(model + end for model in (*MODELS, *READ) for end in COMPRESSED)}
NESTED = ".zip in a zip"
LAST = {end.rpartition(".")[2] for end in ENDS} | {"zip"}


def counted(locations: Sequence[str]) -> Counter[str]:
    """How many files there are of each of these formats, by the end of their names, and of zips in zips."""
    return Counter(end for location in locations if (end := _end(location)))


def _end(location: str) -> str:
    if location.rpartition(".")[2].lower() not in LAST:
        return ""
    _, member = tree.split(location)
    name = location.rpartition("/")[2].lower()
    if name.startswith("."):
        return ""
    if member and name.endswith(".zip"):
        return NESTED
    parts = name.split(".")[1:]
    return next((end for n in (2, 1) if len(parts) >= n and (end := "." + ".".join(parts[-n:])) in ENDS), "")


def told(counts: Mapping[str, int]) -> str:
    """What `counted` found, in words; empty where it is nothing."""
    if not counts:
        return ""
    kinds = ", ".join(f"{count} {end}" for end, count in sorted(counts.items()))
    what = ["unpack archives"] * any(end in (NESTED, *ARCHIVES) for end in counts)
    what += ["convert the others to GLB or OBJ"] * any(end not in (NESTED, *ARCHIVES) for end in counts)
    return f"{sum(counts.values())} files that can't be read ({kinds}); {', '.join(what)}"
