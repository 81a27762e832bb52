"""Command web: a page in the browser, where a photo is dropped and its shape can be turned.

    python -m pipeline.web
    python -m pipeline.web --port 8000 --checkpoint r3d.safetensors

It shows what was cut out, what the network saw, the shape and the training shape that looks most alike, out of the
network's memory or else of data/shards, and has the shape in every format. One chooses among the systems in
data/checkpoints, the one that comes along and those of --checkpoint. It listens on this machine alone, unless --host
says otherwise: there is no password. Photos and shapes lie in a temporary folder until the page is closed; nothing else
is kept, nothing is counted, and neither the page nor the server asks anything of the internet.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports, which take seconds
    from pathlib import Path

    from pipeline.runtime.command import argument, run

    run(
        "pipeline.web",
        argument("--host", "address to listen on; 0.0.0.0 lets others in (default: %(default)s)", default="127.0.0.1"),
        argument("--port", "to listen on, 0 for any (default: %(default)s)", type=int, default=7860),
        argument(
            "--checkpoint",
            "files of trained systems, to choose as well",
            type=Path,
            nargs="+",
            default=[],
            metavar="FILE",
        ),
    )

import contextlib
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline import synthesize
from pipeline.answers.network import WEIGHTS, where
from pipeline.geometry.meshes import Mesh, normalise
from pipeline.geometry.renderer import render
from pipeline.runtime.files import workspace
from pipeline.training.checkpoints import CHECKPOINTS

EXAMPLES = {"02691156": (150, 25), "02958343": (220, 20), "03001627": (150, 20), "03636649": (150, 15)}
SEED = 1  # of the examples; what comes along was trained on shapes of seed 0
POLICY = "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'self'"


def systems(others: Sequence[Path]) -> dict[str, Path]:
    """Name -> file of all that there is to choose from, the default first."""
    found = {path.stem: path for path in sorted(CHECKPOINTS.glob("*.pt")) if not path.stem.endswith("_last")}
    found |= {f"{WEIGHTS.stem}, which comes along": WEIGHTS} | {str(path): path for path in others}
    first = others[0] if others else where(None, None)
    return dict(sorted(found.items(), key=lambda item: item[1] != first))


def examples(folder: Path) -> list[str]:
    """Pictures of parametric models that no network has seen, rendered as training views are."""
    params = synthesize.Params(SEED, 1, 0.0, 0.0, 0.0)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for synset, (azimuth, elevation) in EXAMPLES.items():
        model = synthesize.build(synset, 0, params)
        mesh, _ = normalise(Mesh(model.vertices, model.clean_faces))
        views, _ = render(mesh, np.array([[azimuth, elevation, 2.2, 30]], np.float32), 384, 512)
        name, _, _ = synthesize.FAMILIES[synset][0].partition(",")
        paths.append(str(folder / f"{name}.png"))
        Image.fromarray(views[0]).save(paths[-1])
    return paths


class Policy:
    """Forbids the browser to ask anybody else, whatever Gradio's page asks for."""

    def __init__(self, app: Callable[..., Any]):
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        async def sent(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY.encode())]
            await send(message)

        await self.app(scope, receive, sent)


@contextlib.contextmanager
def served(host: str, port: int, others: Sequence[Path]) -> Iterator[str]:
    """The page's address, while it is served.

    Raises:
        ValueError: the port is taken, Gradio is not installed, or there is no such checkpoint.
    """
    try:
        with socket.create_server((host, port)) as listening:
            port = listening.getsockname()[1]
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"--port: expected a free one at {host}, got {port}: {reason}") from error
    if missing := [path for path in others if not path.is_file()]:
        raise ValueError(f"--checkpoint: expected a file of a trained system, got '{missing[0]}'")
    with workspace(Path(tempfile.gettempdir()).resolve(), "oneview-web.") as room:
        os.environ |= {"GRADIO_TEMP_DIR": str(room), "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
        tempfile.tempdir = str(room)
        try:
            import gradio
            from starlette.middleware import Middleware
        except ImportError as error:
            raise ValueError(f"web: expected Gradio to be installed (pip install gradio), got {error}") from error
        from pipeline.answers.site import MEGABYTES, Answers, Visits, page

        made = page(Answers(systems(others), Visits(room)), examples(room / "examples/made"))
        theme = gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
        try:
            made.launch(
                server_name=host,
                server_port=port,
                share=False,
                quiet=True,
                prevent_thread_lock=True,
                show_error=True,
                footer_links=[],
                run_history=False,
                max_file_size=f"{MEGABYTES}mb",
                ssr_mode=False,
                pwa=False,
                theme=theme,
                app_kwargs={"middleware": [Middleware(Policy)]},
            )
            yield f"http://{host}:{port}"
        finally:
            made.close(verbose=False)
            tempfile.tempdir = None


def main(host: str, port: int, checkpoint: Sequence[Path]) -> None:
    with served(host, port, checkpoint) as address:
        print(f"web: {address} until Ctrl-C", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
