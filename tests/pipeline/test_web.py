from __future__ import annotations

import io
import os
import socket
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from pipeline import web
from pipeline.training.checkpoints import CHECKPOINTS
from tests.browser import fits, opened, pixels
from tests.constant_system import write_checkpoint
from tests.photos import photo

DROPPED = """([text, name]) => {
    const moved = new DataTransfer(), data = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    moved.items.add(new File([data], name, {type: "image/png"}));
    return moved;
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working directory, with a system that always gives a block, and photos."""
    made = tmp_path_factory.mktemp("web")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        patch.setenv("ONEVIEW_DEVICE", "cpu")
        block = torch.zeros(16, 16, 16)
        block[4:12, 4:12, 4:12] = 0.9
        write_checkpoint(CHECKPOINTS / "block.pt", block)
        write_checkpoint(CHECKPOINTS / "block_last.pt", block)
        photo(made / "ring.png", (255, 255, 255))
        Image.new("RGB", (80, 60), "white").save(made / "nothing.png")
        (made / "words.png").write_text("no picture")
        (made / "large.png").write_bytes(bytes(22 * 1024**2))
        yield made


@pytest.fixture(scope="module")
def asked() -> Iterator[list[Any]]:
    """Addresses beyond this machine that the server asks for."""
    found: list[Any] = []
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def connecting(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1"):
            found.append(address)
        connect(self, address)

    def looking_up(host: Any, *rest: Any, **named: Any) -> Any:
        if host not in (None, "", "127.0.0.1", "localhost", "::1", b"localhost", b"127.0.0.1"):
            found.append(host)
        return look_up(host, *rest, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connecting)
        patch.setattr(socket, "getaddrinfo", looking_up)
        yield found


@pytest.fixture(scope="module")
def address(browser: Any, folder: Path, asked: list[Any]) -> Iterator[str]:
    pytest.importorskip("gradio")
    with web.served("127.0.0.1", 0, []) as found:
        yield found


def said(page: Any, words: str) -> str:
    """What the page says when it says that."""
    found = page.locator("#said").filter(has_text=words)
    found.wait_for(timeout=60_000)
    return str(found.inner_text())


def left() -> list[str]:
    """What sessions have left on the disk."""
    room = Path(os.environ["GRADIO_TEMP_DIR"])
    return [str(path) for path in room.rglob("*.*") if path.parent.name != "made"]


@pytest.mark.long
def test_a_photo_becomes_a_shape_to_turn_and_to_keep(
    browser: Any, address: str, folder: Path, asked: list[Any]
) -> None:
    with opened(browser, address) as page:
        page.locator("text=Examples").wait_for()
        dropped = page.evaluate_handle(DROPPED, [b64encode((folder / "ring.png").read_bytes()).decode(), "ring.png"])
        page.locator("button", has_text="Drop Image Here").dispatch_event("drop", {"dataTransfer": dropped})
        assert said(page, "by recall").startswith("Cut out by its uniform background.")
        assert page.inner_text("#near label").endswith("remembered by recall")
        settled(page, page.locator("#near canvas"))
        page.get_by_label("System").click()
        names = [text.split("\n")[-1] for text in page.get_by_role("option").all_inner_texts()]
        assert names == ["recall, which comes along", "block"]
        page.get_by_role("option", name="block").click()
        said(page, "by constant")
        assert page.inner_text("#near label").endswith("none is known")
        canvas = page.locator("#shape canvas")
        before = settled(page, canvas)
        box = canvas.bounding_box()
        page.mouse.move(box["x"] + 100, box["y"] + 100)
        page.mouse.down()
        page.mouse.move(box["x"] + 220, box["y"] + 120, steps=4)
        page.mouse.up()
        assert (settled(page, canvas) != before).any(axis=-1).mean() > 0.01
        for end in ("glb", "obj", "stl"):
            with page.expect_download() as download:
                page.locator(f"a.download-link[download='ring.{end}']").click()
            data = Path(download.value.path()).read_bytes()
            mesh = trimesh.load_mesh(io.BytesIO(data), end)
            assert mesh.is_watertight and np.ptp(mesh.vertices, axis=0).max() == pytest.approx(1, abs=1e-4)
        assert left()
    gone = time.monotonic() + 20
    while left():
        assert time.monotonic() < gone, left()
        time.sleep(0.1)
    assert not asked


def settled(page: Any, canvas: Any) -> np.ndarray:
    """A picture of a canvas when it has something on it, and moves no more."""
    canvas.wait_for()
    found = pixels(canvas)
    for _ in range(100):
        page.wait_for_timeout(200)
        before, found = found, pixels(canvas)
        if np.ptp(found) > 50 and (before == found).all():
            return found
    raise AssertionError("expected a picture that stays, got none")


@pytest.mark.long
def test_what_cannot_be_is_said_and_nothing_is_shown(browser: Any, address: str, folder: Path) -> None:
    for name, words in {
        "nothing.png": "No shape: nothing.png: expected an object, got a picture in one colour",
        "words.png": "No shape: words.png: expected a picture, got 10 bytes that Pillow can't identify",
    }.items():
        with opened(browser, address) as page:
            page.locator("text=Examples").wait_for()
            page.set_input_files("input[type=file]", folder / name)
            said(page, words)
            assert page.locator("a[download]").count() == 0
    with opened(browser, address, width=390, color_scheme="dark") as page:
        page.locator("text=Examples").wait_for()
        page.set_input_files("input[type=file]", folder / "large.png")
        page.locator("text=maximum allowed size").first.wait_for()
        assert fits(page)
        page.locator("button.gallery-item").nth(2).click()
        said(page, "by recall")
        settled(page, page.locator("#shape canvas"))


def test_a_port_that_is_taken_and_a_file_that_is_not_there_are_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(ValueError, match=rf"--port: expected a free one at 127.0.0.1, got {port}: Address already"),
            web.served("127.0.0.1", port, []),
        ):
            pass
    for port, path, words in ((99999, [], "--port: expected a free one"), (0, [Path("no.pt")], "got 'no.pt'")):
        with pytest.raises(ValueError, match=words), web.served("127.0.0.1", port, path):
            pass
