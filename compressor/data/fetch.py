"""Weights by name: a path, a URL, or a released model, downloaded once into the cache.

The cache is the user's cache folder, or the one that the environment variable COMPRESSOR_CACHE names. Released models
come from GitHub, or from the mirror that COMPRESSOR_WEIGHTS_URL names: a base URL below which `<tag>/<name>` is found.
"""

from __future__ import annotations

import hashlib
import http
import http.client
import io
import os
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
from importlib import resources
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

from compressor.data.sources import is_there
from compressor.errors import CheckpointError, Diagnostic, DownloadError, did_you_mean
from compressor.files.cache import cache_folder
from compressor.progress import Update

EMBEDDED = "yolov5_shapes.safetensors"  # comes with the package; trained on the data set that `shapes.py` draws

_RELEASES_URL = "https://github.com/ultralytics/yolov5/releases/download"
_DEFAULT_TAG = "v7.0"
_SIZES = {"v5.0": "smlx", "v6.0": "nsmlx", "v6.1": "nsmlx", "v6.2": "nsmlx", "v7.0": "nsmlx"}
_YOLOV5N_V61 = (4_062_133, "4f180cf23ba0717ada0badd6c685026d73d48f184d00fc159c2641284b2ac0a3")
_KNOWN = {(tag, "yolov5n.pt"): _YOLOV5N_V61 for tag in ("v6.1", "v6.2", "v7.0")}  # size in bytes, SHA-256

_SCHEMES = ("http://", "https://")
_TRIES = 3
_TIMEOUT_S = 30
_CHUNK_BYTES = 1 << 18


def catalogue() -> tuple[str, ...]:
    """Every released model by name: `yolov5n.pt` for the newest release, `v6.0/yolov5n.pt` for a certain one."""
    names = {tag: [f"yolov5{size}{p6}.pt" for p6 in ("", "6") for size in sizes] for tag, sizes in _SIZES.items()}
    return (*names[_DEFAULT_TAG], *(f"{tag}/{name}" for tag in names for name in names[tag]))


def find_weights(name: str, progress: Update | None = None) -> Path:
    """The file that `name` means, downloaded into the cache if need be.

    Args:
        name: an existing path, an http or https URL, `EMBEDDED`, or a name of `catalogue()`. A bare name such as
            `yolov5n.pt` means a file of that name in the working folder if there is one.
        progress: called while downloading.

    Raises:
        CheckpointError: W301 no such file, and no released model of that name.
        DownloadError: N701 to N703, see `download`.
    """
    if name.startswith(_SCHEMES):
        return _cached(name, _place_of_url(name), progress)
    if is_there(Path(name)):
        return Path(name)
    if name == EMBEDDED:
        return _embedded()
    if name not in catalogue():
        raise _not_found(name)
    tag, file_name, place = _release(name)
    base = os.environ.get("COMPRESSOR_WEIGHTS_URL") or _RELEASES_URL
    size_bytes, sha256 = _KNOWN.get((tag, file_name), (None, None))
    url = f"{base.rstrip('/')}/{tag}/{file_name}"
    return _cached(url, place, progress, size_bytes=size_bytes, sha256=sha256)


def weights_at_hand(name: str) -> Path | None:
    """The file that `find_weights` would give without a download; None where there is none."""
    if name.startswith(_SCHEMES):
        place = _place_of_url(name)
    elif is_there(Path(name)):
        place = Path(name)
    elif name == EMBEDDED:
        place = _embedded()
    elif name in catalogue():
        place = _release(name)[2]
    else:
        return None
    return place if is_there(place) else None


def _embedded() -> Path:
    return Path(str(resources.files("compressor.data").joinpath("weights", EMBEDDED)))


def _release(name: str) -> tuple[str, str, Path]:
    """Tag, file name and place in the cache of a released model."""
    tag, _, file_name = name.rpartition("/")
    tag = tag or _DEFAULT_TAG
    return tag, file_name, cache_folder() / "weights" / tag / file_name


def _place_of_url(url: str) -> Path:
    folder = hashlib.sha256(url.encode()).hexdigest()[:16]
    return cache_folder() / "weights" / "url" / folder / _file_name(url)


def _cached(
    url: str, place: Path, progress: Update | None, size_bytes: int | None = None, sha256: str | None = None
) -> Path:
    if place.is_file():
        return place
    return download(url, place, size_bytes=size_bytes, sha256=sha256, progress=progress)


def _file_name(url: str) -> str:
    """The last part of the URL's path, with nothing in it that a file system would read as a folder."""
    return re.sub(r"[^\w.-]", "_", unquote(urlsplit(url).path).rpartition("/")[2]).lstrip(".") or "weights.pt"


def _not_found(name: str) -> CheckpointError:
    folder = Path(name).parent
    files = [file for file in _listed(folder) if file.suffix in (".pt", ".safetensors")]
    help_text = did_you_mean(name, [*catalogue(), EMBEDDED, *(str(file) for file in files)])
    help_text = help_text or "name a file, a URL, or a released model such as yolov5n.pt or v6.0/yolov5x.pt"
    return CheckpointError(Diagnostic("W301", "no such file, and no released model of that name", name, help=help_text))


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # the folder does not exist either: there is nothing to suggest from it
        return []


@dataclass(frozen=True)
class _Reply:
    """A server's answer to one try: where its bytes begin in the file, how long the file is, and which one it is."""

    body: IO[bytes]
    start: int
    total: int | None
    version: str


def download(
    url: str,
    destination: Path,
    *,
    size_bytes: int | None = None,
    sha256: str | None = None,
    progress: Update | None = None,
) -> Path:
    """Fetch a file, whole or not at all.

    Bytes go to `<destination>.part`, which a later call goes on from where the server still has the same file; it
    becomes `destination` once its length and digest are right.

    Args:
        url: http or https.
        destination: where the file is to stand; missing folders are made.
        size_bytes: the file's length where it is known.
        sha256: the file's digest where it is known.
        progress: called with the bytes so far and the total.

    Raises:
        DownloadError: N701 it cannot be fetched; N702 the length is wrong, or the transfer ended early three times;
            N703 the digest is wrong.
    """
    if not url.startswith(_SCHEMES):
        raise _unreachable(url, destination, "only http and https addresses are fetched")
    part = destination.with_name(destination.name + ".part")
    version = _version_file(part)
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        _fetch(url, part, size_bytes, progress)
        _check_digest(part, url, sha256)
        part.replace(destination)
    except urllib.error.HTTPError as error:
        error.close()
        said = str(error.reason).partition("\n")[0].rstrip(".:")
        raise _unreachable(url, destination, f"the server answered {error.code} {said}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise _unreachable(url, destination, str(reason) or type(error).__name__) from error
    finally:
        if part.is_file() and part.stat().st_size == 0:
            part.unlink()
        if version.is_file() and not part.is_file():
            version.unlink()
    return destination


def _version_file(part: Path) -> Path:
    """Beside a part, which version of the file it is of; missing where that is not known."""
    return part.with_name(f"{part.name}.version")


def _fetch(url: str, part: Path, size_bytes: int | None, progress: Update | None) -> None:
    """Bring `part` to its full length, going on where an earlier try ended."""
    total = size_bytes
    version = _version_file(part)
    for _ in range(_TRIES):
        known = version.read_text(encoding="utf-8") if version.is_file() else None
        reply = _ask(url, part.stat().st_size, known)
        total = reply.total or size_bytes
        if size_bytes not in (None, total):
            reply.body.close()
            part.unlink()
            raise _wrong_length(url, f"the server offers {total:,} bytes, the file has {size_bytes:,}")
        if reply.start == 0:
            part.write_bytes(b"")  # before its version is noted: bytes of another one must not seem to be of this
            version.write_text(reply.version, encoding="utf-8")
        whole = _receive(reply, part, progress)
        received = part.stat().st_size
        if total is not None and received > total:
            part.unlink()
            raise _wrong_length(url, f"{received:,} bytes came, the file has {total:,}")
        if whole and total in (None, received):
            return
    total_text = "an unknown number of" if total is None else f"{total:,}"
    message = f"the transfer ended after {part.stat().st_size:,} of {total_text} bytes"
    raise _wrong_length(url, message, "run the command again: it goes on from there")


def _ask(url: str, start: int, version: str | None) -> _Reply:
    """Open a URL from byte `start` on; from its beginning where the server cannot, or has another file by now.

    Args:
        url: of the file.
        start: bytes that are there already.
        version: of the file that these are of, where it is known.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "compressor", "Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
        if version and (validator := version.rpartition(" ")[0]):
            request.add_header("If-Range", validator)
    try:
        body = _opener().open(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
            raise
        error.close()
        whole = error.headers.get("Content-Range") == f"bytes */{start}"
        same = version is None or version == _version(error.headers, start) or not _validator(error.headers)
        return _Reply(io.BytesIO(), start, start, version or "") if whole and same else _ask(url, 0, None)
    if body.status != http.HTTPStatus.PARTIAL_CONTENT:
        length = body.headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
        return _Reply(body, 0, total, _version(body.headers, total))
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", body.headers.get("Content-Range", ""))
    if found and int(found[1]) == start:
        total = int(found[2])
        now = _version(body.headers, total)
        if version in (None, now):
            return _Reply(body, start, total, now)
    body.close()
    if not start:
        raise ValueError("the server sent a part of the file without being asked to")
    return _ask(url, 0, None)


def _version(headers: Message, total: int | None) -> str:
    """What tells one file under a URL from the next: the server's word for it, where it has one, and the length."""
    return f"{_validator(headers)} {'' if total is None else total}"


def _validator(headers: Message) -> str:
    """A strong entity tag, else the date of the last change, as `If-Range` takes them."""
    tag = headers.get("ETag", "")
    return str(tag if tag.startswith('"') else headers.get("Last-Modified", ""))


class _Redirects(urllib.request.HTTPRedirectHandler):
    """To another host, as release pages do, but never out of https."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise ValueError(f"the server redirects from https to {newurl.partition(':')[0]}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]  # typeshed's HTTPMessage


def _opener() -> urllib.request.OpenerDirector:
    """Only http and https, also after a redirect: the standard opener reads local files and FTP as well."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        _Redirects,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    return opener


def _receive(reply: _Reply, part: Path, progress: Update | None) -> bool:
    """Write a reply's bytes into `part`; whether the transfer ended by itself and not by an error on the way."""
    done = reply.start
    with reply.body as body, part.open("r+b") as file:
        file.seek(done)
        file.truncate()
        try:
            while chunk := body.read(_CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, reply.total)
            file.flush()
            os.fsync(file.fileno())  # the name that it gets must not outlive the bytes
        except (TimeoutError, ConnectionError, http.client.IncompleteRead):
            return False
    return True


def _check_digest(part: Path, url: str, sha256: str | None) -> None:
    if sha256 is None:
        return
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        part.unlink()
        message = f"the file's SHA-256 is {found}, expected {sha256}; it was deleted"
        help_text = "try again; if it stays so, the file was replaced at its source, or on the way"
        raise DownloadError(Diagnostic("N703", message, url, help=help_text))


def _wrong_length(
    url: str, message: str, help_text: str = "check the address, and the mirror if one is set"
) -> DownloadError:
    return DownloadError(Diagnostic("N702", message, url, help=help_text))


def _unreachable(url: str, destination: Path, reason: str) -> DownloadError:
    help_text = f"fetch {url} by other means and put it in the folder {destination.parent} as {destination.name}"
    return DownloadError(Diagnostic("N701", f"it cannot be fetched: {reason}", url, help=help_text))
