from __future__ import annotations

from xml.etree import ElementTree

from pipeline.charts import charts


def test_charts_leave_out_blanks_and_are_xml():
    curves = [
        {"samples": "1", "a": "0.5", "game": "", "val_iou": "0.1", "val_bce": "0.7", "lr": "0.1"},
        {"samples": "2", "a": "0.4", "game": "0", "val_iou": "0.2", "val_bce": "0.6", "lr": "0.1"},
    ]
    sweep = [{"threshold": "0.5", "val_iou": "0.2", "mean_shape_val_iou": "0.1"}]
    text = charts(curves, sweep)
    root = ElementTree.fromstring(text)
    assert root.tag.endswith("svg")
    words = {element.text for element in root.iter() if element.tag.endswith("text")}
    assert {"validation IoU", "losses", "a", "val_bce", "mean shape"} <= words
    assert not {"game", "lr"} & words
    assert charts(curves, sweep) == text
