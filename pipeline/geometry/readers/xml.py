"""XML for the readers of formats that are made of it."""

from __future__ import annotations

import io
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from pipeline.geometry.errors import MeshError

_CUT_SHORT = (3, 5)  # expat's codes of a text that ends before its elements do: no element found, unclosed token


def parsed(data: bytes, spaces: dict[str, str] | None = None) -> Element:
    """The root of an XML document; `spaces` is filled with its namespaces by their prefixes.

    Raises:
        MeshError: `unreadable`, and `truncated` where it ends too soon.
    """
    try:
        events = ElementTree.iterparse(io.BytesIO(data), events=["start-ns"])
        for _, found in events:
            if spaces is not None:
                spaces.setdefault(*found)
        return events.root  # type: ignore[attr-defined]
    except ElementTree.ParseError as error:
        reason = "truncated" if error.code in _CUT_SHORT else "unreadable"
        raise MeshError(reason, f"expected whole XML, got {error}") from error
