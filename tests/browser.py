"""Chromium without a window, for tests of pages, which notes whatever goes wrong in it."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from PIL import Image

FLAGS = (
    "--headless --no-sandbox --disable-gpu --enable-unsafe-swiftshader --disable-quic --no-first-run "
    "--disable-background-networking"
).split()
FOUND = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NO_WEBGPU = "delete Navigator.prototype.gpu"  # which has no adapter here, as Babylon.js would find out with an error


@contextmanager
def launched() -> Iterator[Any]:
    """A browser of playwright's; the test is skipped where there is none."""
    api = pytest.importorskip("playwright.sync_api")
    if FOUND is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=FOUND, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, address: str, width: int = 1280, **options: Any) -> Iterator[Any]:
    """A page; AssertionError where its console has an error in the end, or anybody else was asked for anything."""
    page = browser.new_page(viewport={"width": width, "height": 900}, **options)
    errors: list[str] = []
    asked: list[str] = []
    late: list[str] = []  # Gradio's progress of an upload that was over, or refused, before anybody asked
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.on(
        "response", lambda got: late.append(got.url) if got.status == 404 and "/upload_progress" in got.url else None
    )
    page.add_init_script(NO_WEBGPU)
    page.goto(address)
    yield page
    own = ("data:", "blob:", address.split("#")[0].rstrip("/"))
    others = [url for url in asked if not url.startswith(own)]
    wrong = [error for error in errors if not (late and (error == "Response" or "404" in error))]
    page.close()
    assert not others, f"asked of others: {others}"
    assert not wrong, f"said in the console: {wrong}"


def pixels(element: Any) -> np.ndarray:
    """(H, W, 3) uint8, what an element looks like."""
    return np.asarray(Image.open(io.BytesIO(element.screenshot())).convert("RGB"))


def fits(page: Any) -> bool:
    """Whether nothing is wider than the window."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))
