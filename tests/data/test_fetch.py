"""Weights by name and their download, against a server on this machine."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from compressor.data.fetch import catalogue, download, find_weights
from compressor.errors import CheckpointError, DownloadError

CONTENT = bytes(range(256)) * 4000  # 1,024,000 bytes
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT under every path, with the faults that a test switches on."""

    ranges = True  # answers Range requests
    cut_after: int | None = None  # bytes of each reply before the connection is closed
    wrong_start = False  # answers Range requests from another place
    status = 200
    location = ""  # where to redirect to

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str | None]] = []  # path and Range header
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.requests.append((self.path, wanted))
        if self.server.location and not self.path.startswith("/target"):
            self._head(302, Location=self.server.location)
        elif self.server.status != 200:
            self._head(self.server.status)
        else:
            self._content(int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else None)

    def _content(self, start: int | None) -> None:
        total = len(CONTENT)
        if start is not None and start >= total:
            self._head(416, Content_Range=f"bytes */{total}")
            return
        if start is None:
            self._head(200, Content_Length=str(total))
        else:
            start = 7 if self.server.wrong_start else start
            self._head(206, Content_Range=f"bytes {start}-{total - 1}/{total}", Content_Length=str(total - start))
        with suppress(ConnectionError):  # the reader hangs up when the length is wrong
            self.wfile.write(CONTENT[start or 0 :][: self.server.cut_after])

    def _head(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, an empty working folder, and the server as the mirror."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("COMPRESSOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COMPRESSOR_WEIGHTS_URL", f"{server.url}/mirror/")
    return tmp_path / "cache" / "weights"


def test_a_whole_file_with_progress(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    place = tmp_path / "new" / "x.pt"
    found = download(
        f"{server.url}/x.pt",
        place,
        size_bytes=len(CONTENT),
        sha256=SHA256,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert found == place and place.read_bytes() == CONTENT
    assert [file.name for file in place.parent.iterdir()] == ["x.pt"]
    assert seen[-1] == (len(CONTENT), len(CONTENT)) and [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert server.requests == [("/x.pt", None)]


def test_an_interrupted_file_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.pt.part").write_bytes(CONTENT[:1000])
    download(f"{server.url}/x.pt", tmp_path / "x.pt", sha256=SHA256)
    assert (tmp_path / "x.pt").read_bytes() == CONTENT
    assert server.requests == [("/x.pt", "bytes=1000-")]


@pytest.mark.parametrize("fault", ["ranges", "wrong_start"])
def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path, fault: str) -> None:
    setattr(server, fault, fault == "wrong_start")
    (tmp_path / "x.pt.part").write_bytes(b"other bytes")
    download(f"{server.url}/x.pt", tmp_path / "x.pt")
    assert (tmp_path / "x.pt").read_bytes() == CONTENT


def test_a_part_that_is_already_whole(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.pt.part").write_bytes(CONTENT)
    download(f"{server.url}/x.pt", tmp_path / "x.pt", sha256=SHA256)
    assert (tmp_path / "x.pt").read_bytes() == CONTENT
    assert server.requests == [("/x.pt", f"bytes={len(CONTENT)}-")]


def test_a_part_that_is_too_long_starts_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.pt.part").write_bytes(CONTENT + b"more")
    download(f"{server.url}/x.pt", tmp_path / "x.pt")
    assert (tmp_path / "x.pt").read_bytes() == CONTENT


def test_a_transfer_cut_short_goes_on_by_itself(server: Server, tmp_path: Path) -> None:
    server.cut_after = 400_000
    download(f"{server.url}/x.pt", tmp_path / "x.pt", sha256=SHA256)
    assert [wanted for _, wanted in server.requests] == [None, "bytes=400000-", "bytes=800000-"]


def test_a_transfer_cut_short_three_times_keeps_its_part(server: Server, tmp_path: Path) -> None:
    server.cut_after = 100_000
    with pytest.raises(DownloadError, match=r"N702 the transfer ended after 300,000 of 1,024,000 bytes") as caught:
        download(f"{server.url}/x.pt", tmp_path / "x.pt")
    assert caught.value.exit_code == 3
    assert sorted(file.name for file in tmp_path.iterdir()) == ["x.pt.part", "x.pt.part.version"]
    server.cut_after = None
    download(f"{server.url}/x.pt", tmp_path / "x.pt", sha256=SHA256)
    assert server.requests[-1] == ("/x.pt", "bytes=300000-")


def test_a_wrong_length_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"N702 the server offers 1,024,000 bytes, the file has 17"):
        download(f"{server.url}/x.pt", tmp_path / "x.pt", size_bytes=17)
    assert not list(tmp_path.iterdir())


def test_a_wrong_digest_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=f"N703 the file's SHA-256 is {SHA256}, expected {'0' * 64}"):
        download(f"{server.url}/x.pt", tmp_path / "x.pt", sha256="0" * 64)
    assert not list(tmp_path.iterdir())


def help_of(caught: pytest.ExceptionInfo[DownloadError]) -> str | None:
    return caught.value.diagnostics[0].help


def test_a_missing_file_says_what_to_fetch_and_where_to_put_it(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(DownloadError, match="N701 it cannot be fetched: the server answered 404") as caught:
        download(f"{server.url}/x.pt", tmp_path / "x.pt")
    assert help_of(caught) == f"fetch {server.url}/x.pt by other means and put it in the folder {tmp_path} as x.pt"
    assert len(server.requests) == 1 and not list(tmp_path.iterdir())


def test_a_refused_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/x.pt"
        with pytest.raises(DownloadError, match=r"N701 it cannot be fetched: .*refused"):
            download(url, tmp_path / "x.pt")


@pytest.mark.parametrize("url", ["file:///etc/hosts", "ftp://127.0.0.1/x.pt", "data:,x", "x.pt", "http://"])
def test_only_http_is_fetched(tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError, match="N701"):
        download(url, tmp_path / "x.pt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("scheme", "reason"), [("file", "is not allowed"), ("ftp", "unknown url type: ftp")])
def test_a_redirect_stays_with_http(server: Server, tmp_path: Path, scheme: str, reason: str) -> None:
    server.location = f"{scheme}://127.0.0.1/x.pt"
    with pytest.raises(DownloadError, match=f"N701 .*{reason}"):
        download(f"{server.url}/x.pt", tmp_path / "x.pt")
    server.location = f"{server.url}/target"
    download(f"{server.url}/x.pt", tmp_path / "x.pt", sha256=SHA256)


def test_a_place_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match="N701"):
        download(f"{server.url}/x.pt", tmp_path / "file" / "x.pt")


def test_the_catalogue() -> None:
    names = catalogue()
    assert len(names) == len(set(names)) == 10 + 8 + 4 * 10
    assert {"yolov5n.pt", "yolov5x6.pt", "v5.0/yolov5x.pt", "v6.0/yolov5n6.pt"} <= set(names)
    assert not {"v5.0/yolov5n.pt", "v5.0/yolov5n6.pt"} & set(names)


def test_an_existing_path_is_used_as_it_is(cache: Path, server: Server) -> None:
    Path("yolov5s.pt").write_bytes(b"mine")
    assert find_weights("yolov5s.pt") == Path("yolov5s.pt")
    assert server.requests == []


def test_a_released_model_is_downloaded_once(cache: Path, server: Server) -> None:
    assert find_weights("yolov5s.pt") == cache / "v7.0" / "yolov5s.pt"
    assert find_weights("yolov5s.pt").read_bytes() == CONTENT
    assert find_weights("v5.0/yolov5s6.pt") == cache / "v5.0" / "yolov5s6.pt"
    assert [path for path, _ in server.requests] == ["/mirror/v7.0/yolov5s.pt", "/mirror/v5.0/yolov5s6.pt"]


def test_a_certain_release_is_not_taken_from_the_working_folder(cache: Path) -> None:
    Path("yolov5s.pt").write_bytes(b"of another release")
    assert find_weights("v6.0/yolov5s.pt").read_bytes() == CONTENT


def test_the_known_digest_is_checked(cache: Path) -> None:
    with pytest.raises(DownloadError, match="N702 the server offers 1,024,000 bytes, the file has 4,062,133"):
        find_weights("yolov5n.pt")
    assert find_weights("v6.0/yolov5n.pt").is_file()  # another file, whose digest is not known


def test_a_url_is_downloaded_once(cache: Path, server: Server) -> None:
    url = f"{server.url}/a/best%2F..%2F.pt?token=1"
    found = find_weights(url)
    assert found.parent.parent == cache / "url" and found.read_bytes() == CONTENT
    assert found.resolve().is_relative_to(cache.resolve())
    assert find_weights(url) == found and len(server.requests) == 1
    assert find_weights(f"{server.url}/b/best.pt").parent != found.parent


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("yolov5y.pt", "did you mean 'yolov5"),
        ("v6.0/yolov5sx.pt", "did you mean 'v6.0/yolov5"),
        ("runs/bset.pt", "did you mean 'runs/best.pt'?"),
        ("runs/bset.safetensors", "did you mean 'runs/best.safetensors'?"),
        ("v5.0/yolov5n.pt", "did you mean 'v7.0/yolov5n.pt'?"),
        ("no/such/thing", "name a file, a URL, or a released model"),
        ("x" * 5000, "name a file, a URL, or a released model"),
    ],
)
def test_an_unknown_name_gets_the_nearest_one(cache: Path, server: Server, name: str, expected: str) -> None:
    Path("runs").mkdir()
    for file in ("best.pt", "best.safetensors", "bset.txt"):
        (Path("runs") / file).touch()
    with pytest.raises(CheckpointError, match="W301 no such file") as caught:
        find_weights(name)
    assert (caught.value.diagnostics[0].help or "").startswith(expected)
    assert server.requests == []
