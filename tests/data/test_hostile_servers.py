"""Downloads from servers that cut off, lie, hang, change the file or send elsewhere: whole and right, or not at all."""

from __future__ import annotations

import hashlib
import random
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import pytest

from compressor.data import fetch
from compressor.data.fetch import download
from compressor.errors import DownloadError

OLD = random.Random(1).randbytes(60_000)
NEW = random.Random(2).randbytes(60_000)


@dataclass
class Reply:
    """What the server sends: a status, headers and a body, of which it may stop short."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    hang_s: float = 0  # before the last byte


Answer = Callable[[dict[str, str]], Reply]  # headers of the request, in lower case


@contextmanager
def serving(answer: Answer) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The URL of a server that answers so, and the headers of every request."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen.append(headers)
            reply = answer(headers)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):  # the reader has left
                self.wfile.write(reply.body[:-1] if reply.hang_s else reply.body)
                self.wfile.flush()
                time.sleep(reply.hang_s)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/x.pt", seen
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")


def honest(content: bytes, validators: dict[str, str], cut_after: int | None = None) -> Answer:
    """A server as it should be: ranges, If-Range, lengths; it may close the connection early."""

    def answer(headers: dict[str, str]) -> Reply:
        told = dict(validators)
        wanted = headers.get("range")
        if wanted and headers.get("if-range", "") in ("", *told.values()):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                return Reply(416, {"Content-Range": f"bytes */{len(content)}"})
            told |= {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
            rest = content[start:]
            return Reply(206, told | {"Content-Length": str(len(rest))}, rest[:cut_after])
        return Reply(200, told | {"Content-Length": str(len(content))}, content[:cut_after])

    return answer


def cut_off(place: Path, validators: dict[str, str]) -> None:
    """A first call that ends after 30,000 bytes of the old file."""
    with serving(honest(OLD, validators, 10_000)) as (url, _), pytest.raises(DownloadError, match="after 30,000 of"):
        download(url, place)


VALIDATORS = [{"ETag": '"a"'}, {"Last-Modified": "Fri, 13 Nov 2026 10:00:00 GMT"}, {"ETag": 'W/"a"'}, {}]
CHANGED = [{"ETag": '"b"'}, {"Last-Modified": "Sat, 14 Nov 2026 10:00:00 GMT"}, {"ETag": 'W/"b"'}, {}]


@pytest.mark.parametrize("validators", VALIDATORS, ids=str)
def test_the_same_file_is_gone_on_with(tmp_path: Path, validators: dict[str, str]) -> None:
    cut_off(tmp_path / "x.pt", validators)
    with serving(honest(OLD, validators)) as (url, seen):
        download(url, tmp_path / "x.pt")
    assert (tmp_path / "x.pt").read_bytes() == OLD
    assert [file.name for file in tmp_path.iterdir()] == ["x.pt"]
    strong = [value for value in validators.values() if not value.startswith("W/")]
    assert [(each["range"], each.get("if-range")) for each in seen] == [("bytes=30000-", strong[0] if strong else None)]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("heeds", [True, False])
def test_a_file_that_changed_in_between_is_fetched_anew(tmp_path: Path, number: int, heeds: bool) -> None:
    cut_off(tmp_path / "x.pt", VALIDATORS[number])
    changed = honest(NEW, CHANGED[number])
    deaf = lambda headers: changed({**headers, "if-range": ""})  # noqa: E731  # a server that answers ranges of any file
    with serving(changed if heeds else deaf) as (url, seen):
        download(url, tmp_path / "x.pt")
    assert (tmp_path / "x.pt").read_bytes() == NEW
    assert len(seen) == (1 if heeds else 2)


def test_a_file_of_another_length_is_fetched_anew_where_the_server_says_nothing_else(tmp_path: Path) -> None:
    cut_off(tmp_path / "x.pt", {})
    with serving(honest(NEW + b"!", {})) as (url, seen):
        download(url, tmp_path / "x.pt")
    assert (tmp_path / "x.pt").read_bytes() == NEW + b"!"
    assert len(seen) == 2


def test_a_part_as_long_as_the_changed_file_is_not_taken_for_it(tmp_path: Path) -> None:
    cut_off(tmp_path / "x.pt", {"ETag": '"a"'})
    with serving(honest(NEW[:30_000], {"ETag": '"b"'})) as (url, _):
        download(url, tmp_path / "x.pt")
    assert (tmp_path / "x.pt").read_bytes() == NEW[:30_000]


def test_a_file_that_changes_between_the_tries_of_one_call_is_never_mixed(tmp_path: Path) -> None:
    first, later = honest(OLD, {"ETag": '"a"'}, 10_000), honest(NEW, {"ETag": '"b"'})
    with serving(lambda headers: later(headers) if "range" in headers else first(headers)) as (url, seen):
        download(url, tmp_path / "x.pt")
    assert (tmp_path / "x.pt").read_bytes() == NEW
    assert [each.get("if-range") for each in seen] == [None, '"a"']


def failed(place: Path, answer: Answer, match: str, **known: object) -> DownloadError:
    with serving(answer) as (url, _), pytest.raises(DownloadError, match=match) as caught:
        download(url, place, **known)  # type: ignore[arg-type]  # as the test says
    assert not place.exists()
    return caught.value


LIES: dict[str, tuple[Answer, str]] = {
    "more is told than comes": (
        lambda _: Reply(200, {"Content-Length": "60001"}, OLD),
        r"N702 the server offers 60,001 bytes, the file has 60,000",
    ),
    "less is told than comes": (
        lambda _: Reply(200, {"Content-Length": "59999"}, OLD),
        r"N702 the server offers 59,999 bytes, the file has 60,000",
    ),
    "the length is no number": (
        lambda _: Reply(200, {"Content-Length": "-1"}, NEW),
        r"N703 the file's SHA-256 is",
    ),
    "nothing is told and it stops": (lambda _: Reply(200, {}, OLD[:-1]), r"N702 the transfer ended after 59,999 of"),
    "a range of nothing that was asked for": (
        lambda _: Reply(206, {"Content-Range": "bytes 9-59999/60000", "Content-Length": "59991"}, OLD[9:]),
        r"N701 it cannot be fetched: the server sent a part of the file without being asked to",
    ),
    "it is empty": (lambda _: Reply(200, {"Content-Length": "0"}), r"N702 the transfer ended after 0 of 60,000 bytes"),
    "a page instead of the file": (
        lambda _: Reply(200, {"Content-Type": "text/html"}, b"<html>" + bytes(59_994)),
        r"N703 the file's SHA-256 is",
    ),
    "no HTTP": (lambda _: Reply(999, {}), r"N701 it cannot be fetched: the server answered 999"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_found_out(tmp_path: Path, lie: str) -> None:
    answer, match = LIES[lie]
    digest = hashlib.sha256(OLD).hexdigest()
    error = failed(tmp_path / "x.pt", answer, match, size_bytes=len(OLD), sha256=digest)
    assert "\n" not in error.diagnostics[0].message
    if "N703" in match:
        assert list(tmp_path.iterdir()) == []


def test_a_server_that_hangs_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_TIMEOUT_S", 0.05)
    start = time.monotonic()
    hanging = Reply(200, {"Content-Length": str(len(OLD))}, OLD, hang_s=0.3)
    failed(tmp_path / "x.pt", lambda _: hanging, "N702 the transfer ended after")
    assert time.monotonic() - start < 5


def test_a_server_that_never_answers_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_TIMEOUT_S", 0.05)

    def silent(_: dict[str, str]) -> Reply:
        time.sleep(0.3)
        return Reply()

    failed(tmp_path / "x.pt", silent, "N701 it cannot be fetched: timed out")


def test_a_redirect_to_another_host_is_followed_and_a_circle_is_not(tmp_path: Path) -> None:
    with serving(honest(OLD, {})) as (target, _):
        elsewhere = target.replace("127.0.0.1", "localhost")
        with serving(lambda _: Reply(302, {"Location": elsewhere})) as (url, _):
            download(url, tmp_path / "x.pt")
    assert (tmp_path / "x.pt").read_bytes() == OLD
    error = failed(tmp_path / "y.pt", lambda _: Reply(302, {"Location": "/x.pt"}), "N701 .* 302 .*infinite loop")
    assert "\n" not in error.diagnostics[0].message


@pytest.mark.parametrize("to", ["http://127.0.0.1/x.pt", "ftp://127.0.0.1/x.pt", "file:///etc/hosts"])
def test_a_redirect_never_leaves_https(to: str) -> None:
    request = urllib.request.Request("https://127.0.0.1/x.pt")
    with pytest.raises(ValueError, match=f"redirects from https to {to.partition(':')[0]}"):
        fetch._Redirects().redirect_request(request, BytesIO(), 302, "Found", Message(), to)
    followed = fetch._Redirects().redirect_request(request, BytesIO(), 302, "Found", Message(), "https://x/y.pt")
    assert followed is not None and followed.full_url == "https://x/y.pt"


def test_a_digest_that_is_wrong_leaves_nothing_to_go_on_from(tmp_path: Path) -> None:
    failed(tmp_path / "x.pt", honest(NEW, {"ETag": '"a"'}), "N703", sha256=hashlib.sha256(OLD).hexdigest())
    assert list(tmp_path.iterdir()) == []


def test_whatever_a_server_does_the_file_is_whole_or_not_there(tmp_path: Path) -> None:
    """Two hundred servers, each with a random fault in each of its answers."""
    dice = random.Random(7)

    def faulty(headers: dict[str, str]) -> Reply:
        content, tag = dice.choice([(OLD, '"a"'), (OLD, '"a"'), (NEW, '"b"')])
        reply = honest(content, {"ETag": tag}, dice.choice([None, None, 0, 1, 7_000, 59_999]))(headers)
        match dice.randrange(8):
            case 0:
                reply.headers.pop("Content-Length", None)
            case 1:
                reply.headers["Content-Length"] = str(dice.choice([0, 5, 59_999, 70_000]))
            case 2:
                reply.headers.pop("ETag", None)
            case 3:
                reply.headers["Content-Range"] = f"bytes {dice.randrange(60_000)}-59999/60000"
            case 4:
                reply.status = dice.choice([200, 206, 416, 404, 500])
            case _:
                pass
        return reply

    digest = hashlib.sha256(OLD).hexdigest()
    whole = 0
    with serving(faulty) as (url, _):
        for number in range(200):
            place = tmp_path / f"{number % 40}.pt"
            place.unlink(missing_ok=True)
            try:
                download(url, place, size_bytes=len(OLD), sha256=digest)
            except DownloadError as error:
                assert error.diagnostics[0].code in ("N701", "N702", "N703")
                assert not place.exists()
            else:
                whole += 1
                assert place.read_bytes() == OLD
    assert 20 < whole < 180
