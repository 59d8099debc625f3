"""A clean home, a small network, and a web server on this machine."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from sdr2hdr.models import registry
from sdr2hdr.weights.save import save_weights

SMALL = {"attention": "published", "base": "none", "channels": 16, "blocks": 3}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees the user's own weights or cache, the network's proxy, or another test's."""
    for name in ("SDR2HDR_OFFLINE", "HF_HUB_OFFLINE", "SDR2HDR_WEIGHTS", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SDR2HDR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path


@pytest.fixture
def weight(tmp_path: Path) -> Path:
    """A weight file of a small WMNet."""
    torch.manual_seed(1)
    path = tmp_path / "small.safetensors"
    save_weights(
        path, "wmnet", registry.build("wmnet", SMALL).state_dict(), SMALL, {"licence": "CC0"}
    )
    return path


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a user's manifest with one entry for some bytes; any key can be given another value."""

    def write(data: bytes, **keys: Any) -> Path:
        table = {
            "model": "wmnet",
            "source": "file:small.safetensors",
            "sha256": hashlib.sha256(data).hexdigest(),
            "size": len(data),
            "licence": "CC0",
            "data": "noise",
            "recipe": "none",
            "commit": "unknown",
        } | keys
        lines = [
            f"{key} = {json.dumps(value)}"
            for key, value in table.items()
            if not isinstance(value, dict)
        ]
        for key, value in table.items():
            if isinstance(value, dict):
                lines += [f"[small.{key}]", *(f"{k} = {json.dumps(v)}" for k, v in value.items())]
        path = tmp_path / "weights.toml"
        path.write_text("\n".join(["[small]", *lines]))
        monkeypatch.setenv("SDR2HDR_WEIGHTS", str(path))
        return path

    return write


@dataclass
class Server:
    """Serves ``files``; ``cut`` ends the first answers early, after so many bytes each."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    cut: list[int] = field(default_factory=list)
    ranges: bool = True
    lengths: bool = True
    gets: list[str] = field(default_factory=list)  # the Range header of each GET, or ""
    sent: int = 0

    def handler(server) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.answer(body=False)

            def do_GET(self) -> None:
                server.gets.append(self.headers.get("Range", ""))
                self.answer(body=True)

            def answer(self, body: bool) -> None:
                if self.path in server.redirects:
                    self.send_response(302)
                    self.send_header("Location", server.redirects[self.path])
                    self.end_headers()
                    return
                if self.path not in server.files:
                    self.send_error(404)
                    return
                data, asked = server.files[self.path], self.headers.get("Range")
                start = (
                    int(asked.removeprefix("bytes=").removesuffix("-"))
                    if asked and server.ranges
                    else 0
                )
                if start >= len(data):
                    self.send_error(416)
                    return
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                if server.lengths:
                    self.send_header("Content-Length", str(len(data) - start))
                for name, value in server.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if body:
                    stop = start + server.cut.pop(0) if server.cut else len(data)
                    for at in range(start, min(stop, len(data)), 4096):
                        piece = data[at : min(at + 4096, stop)]
                        server.sent += len(
                            piece
                        )  # counted first: the test goes on as soon as it has the last piece
                        self.wfile.write(piece)

            def log_message(self, *args: Any) -> None:
                pass

        return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of this machine that counts what it is asked."""
    ours = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), ours.handler())
    http.daemon_threads = True
    http.handle_error = lambda *args: None  # type: ignore[method-assign]  # clients may hang up on purpose
    ours.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield ours
    http.shutdown()
    http.server_close()
    thread.join()
