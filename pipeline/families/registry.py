"""Parametric shapes for eight of 3D-R2N2's categories, each with its exact solid.

A shape is a union of convex parts and some panels. A part is the convex hull of a point set, so its solid is
an intersection of half-spaces and "is this point inside?" has an exact answer, however damaged the mesh that
is written of it. A panel is a polygon without thickness: it is seen, it has no volume. What is not convex (a
car's body, a vase, an open lampshade) is built from several convex parts. Parts overlap freely, and no family
encloses more empty space than a seam: to fill what is enclosed gives the exact solid back.

Frame: +Y up, front towards -Z, symmetric about x = 0 where the thing itself is. Unit: about a metre.
"""

from __future__ import annotations

from collections.abc import Callable

from numpy.random import Generator

from pipeline.families.airplane import airplane
from pipeline.families.bench import bench
from pipeline.families.cabinet import cabinet
from pipeline.families.car import car
from pipeline.families.chair import chair
from pipeline.families.lamp import lamp
from pipeline.families.sofa import sofa
from pipeline.families.solids import Shape
from pipeline.families.table import table

FAMILIES: dict[str, tuple[str, Callable[[Generator], Shape]]] = {
    "02691156": ("airplane,aeroplane,plane", airplane),
    "02828884": ("bench", bench),
    "02933112": ("cabinet", cabinet),
    "02958343": ("car,auto,automobile,machine,motorcar", car),
    "03001627": ("chair", chair),
    "03636649": ("lamp", lamp),
    "04256520": ("sofa,couch,lounge", sofa),
    "04379243": ("table", table),
}
