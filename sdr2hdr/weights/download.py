"""Downloads one file: bounded, resumable, never from an address that the manifest forbids."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from sdr2hdr import __version__
from sdr2hdr.errors import ModelError
from sdr2hdr.weights.manifest import HubFile, allowed_url

Progress = Callable[[int, int], None]
"""Called after each piece: bytes received, bytes in total."""

_TRIES = 5
_TIMEOUT = 30.0  # seconds without a byte
_PIECE = 1 << 16


def from_url(url: str, part: Path, size: int, progress: Progress | None = None) -> None:
    """Fills ``part`` up to ``size`` bytes from an address that ``allowed_url`` allows; what ``part`` holds is kept.

    A broken transfer is taken up again where it broke, here and in a later call. No more than ``size`` bytes are
    written, whatever the server sends. The content is not checked. Raises ModelError; ``part`` then stays if it can
    be used next time.
    """
    if not allowed_url(url):
        raise ModelError(f"{url}: only https addresses are fetched; correct the source.")
    transfer = _Transfer(url, part, size, progress)
    reason = "the connection broke again and again"
    for _ in range(_TRIES):
        before = transfer.held()
        if before == size:
            return
        try:
            transfer.go_on(before)
        except HTTPError as e:
            raise _failed(url, f"the server answered {e.code} {e.msg}") from e
        except (OSError, HTTPException) as e:
            reason = str(getattr(e, "reason", e)) or type(e).__name__
        if transfer.held() <= before:
            break  # nothing came: the network is away, not merely shaky
    if transfer.held() != size:
        raise _failed(url, reason)


def from_hub(source: HubFile, folder: Path, size: int | None) -> Path:
    """Downloads a file of the Hugging Face hub (``HF_ENDPOINT`` names a mirror) below ``folder``; returns its path.

    The hub's client brings credentials, redirects and another try after a cut, which it takes up at a multiple of its
    own piece (10 MB as of 2.4) and in the same run only. The content is not checked; without a ``size`` any will do.
    """
    # takes half a second to import
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    endpoint = os.environ.get("HF_ENDPOINT") or None
    address = f"hf:{source.repo}@{source.revision}/{source.file}"
    try:
        url = hf_hub_url(source.repo, source.file, revision=source.revision, endpoint=endpoint)
        offered = get_hf_file_metadata(url).size
        if size is None or offered is None or offered == size:
            path = hf_hub_download(
                source.repo,
                source.file,
                revision=source.revision,
                local_dir=folder,
                endpoint=endpoint,
            )
            return Path(path)
    except Exception as e:  # the client raises the errors of whichever HTTP library it was built on
        raise _failed(address, str(e).strip().partition("\n")[0] or type(e).__name__) from e
    raise _wrong_size(address, offered, size)


class _SafeRedirects(HTTPRedirectHandler):
    """Follows a redirect only to https, or from this machine to itself."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        if urlsplit(newurl).scheme != "https" and not (req.type == "http" and allowed_url(newurl)):
            raise HTTPError(
                req.full_url, code, f"sends on to {newurl}, which is not https", headers, fp
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@dataclass(frozen=True)
class _Transfer:
    """One file on its way: from ``url`` into ``part``, ``size`` bytes in all."""

    url: str
    part: Path
    size: int
    progress: Progress | None
    opener: OpenerDirector = field(default_factory=lambda: build_opener(_SafeRedirects))

    def held(self) -> int:
        """The number of bytes received so far; a file that is too long is another file and is deleted."""
        held = self.part.stat().st_size if self.part.exists() else 0
        if held <= self.size:
            return held
        self.part.unlink()
        return 0

    def go_on(self, start: int) -> None:
        """One request for what is missing from byte ``start`` on; returns when the server has no more to say."""
        headers = {"User-Agent": f"sdr2hdr/{__version__}"} | (
            {"Range": f"bytes={start}-"} if start else {}
        )
        try:
            response = self.opener.open(Request(self.url, headers=headers), timeout=_TIMEOUT)  # noqa: S310  checked above
        except HTTPError as e:
            if (
                start and e.code == 416
            ):  # the server's file ends before ours: ours is of another file
                self.part.unlink()
                self.go_on(0)
                return
            raise
        with response:
            if start and response.status == 206:
                if not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                    raise _failed(
                        self.url, "the server sent another piece of the file than it was asked for"
                    )
            else:
                start = 0  # the server knows no ranges and sends the whole file
            announced = response.headers.get("Content-Length", "")
            if announced.isdecimal() and start + int(announced) != self.size:
                self.part.unlink(missing_ok=True)
                raise _wrong_size(self.url, start + int(announced), self.size)
            self._write(response, start)

    def _write(self, response: HTTPResponse, start: int) -> None:
        try:
            out = self.part.open("ab" if start else "wb")
        except OSError as e:
            raise _unwritable(self.part, e) from e
        with out:
            while piece := response.read(min(_PIECE, self.size + 1 - start)):
                start += len(piece)
                if start > self.size:
                    self.part.unlink()
                    raise _failed(
                        self.url,
                        f"the server sends more than the {self.size} bytes that the weight has",
                    )
                try:
                    out.write(piece)
                    out.flush()
                except OSError as e:
                    raise _unwritable(self.part, e) from e
                if self.progress:
                    self.progress(start, self.size)


def _failed(address: str, reason: str) -> ModelError:
    return ModelError(
        f"{address}: the download failed ({reason}); check address and network, and try again."
    )


def _wrong_size(address: str, offered: int, size: int) -> ModelError:
    return ModelError(
        f"{address}: the server offers {offered} bytes where the weight has {size}; check the source."
    )


def _unwritable(path: Path, error: OSError) -> ModelError:
    return ModelError(
        f"{path}: cannot be written ({error.strerror}); make room, or name another SDR2HDR_CACHE."
    )
