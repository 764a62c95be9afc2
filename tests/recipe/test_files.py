"""Files that are no readable recipe, and what is said of them; made here, since git or editors would spoil them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from compressor.cli.main import cli
from compressor.recipe.load import load_recipe, read_draft
from trials.commands import compressor

GOLDENS = Path(__file__).parent / "faults" / "made"
MINIMAL = "version: 1\nmodifiers:\n  - {type: prune, allocation: lamp, sparsity: 0.3}\n"


@pytest.fixture(autouse=True)
def alarm() -> Iterator[None]:
    """A reader that waits for a pipe fails rather than hangs."""

    def ring(*_: object) -> None:
        raise TimeoutError("the recipe is still being read")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def written(data: bytes, name: str = "recipe.yaml") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(data)
        return path

    return make


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.yaml")
    return folder / "pipe.yaml"


def pipe_extended(folder: Path) -> Path:
    pipe(folder)
    return written(b"extends: pipe.yaml\n")(folder)


def loop(folder: Path) -> Path:
    (folder / "loop.yaml").symlink_to("loop.yaml")
    return folder / "loop.yaml"


def loop_extended(folder: Path) -> Path:
    loop(folder)
    return written(b"extends: loop.yaml\n")(folder)


def folder_extended_by_link(folder: Path) -> Path:
    (folder / "link.yaml").symlink_to(folder)
    return written(b"extends: link.yaml\n")(folder)


def circle_by_link(folder: Path) -> Path:
    (folder / "link.yaml").symlink_to("recipe.yaml")
    return written(b"extends: link.yaml\n")(folder)


def long_chain(folder: Path) -> Path:
    for number in range(30):
        written(f"extends: {number + 1}.yaml\n".encode(), f"{number}.yaml")(folder)
    written(MINIMAL.encode(), "30.yaml")(folder)
    return folder / "0.yaml"


def missing(folder: Path) -> Path:
    written(MINIMAL.encode())(folder)
    return folder / "recpie.yaml"


def folder_itself(folder: Path) -> Path:
    (folder / "recipes.yaml").mkdir()
    return folder / "recipes.yaml"


MADE: dict[str, Callable[[Path], Path]] = {
    "five_megabytes": written(b"# " + b"x" * 5_000_000),
    "ten_thousand_values": written(b"version: 1\nmodifiers: [" + b"1, " * 10_001 + b"]\n"),
    "a_megabyte_of_brackets": written(b"[" * 999_999),
    "folder": folder_itself,
    "missing": missing,
    "missing_folder": lambda folder: folder / "nowhere" / "recipe.yaml",
    "below_a_file": lambda folder: written(b"")(folder) / "recipe.yaml",
    "null_in_the_name": lambda folder: folder / "a\0b.yaml",
    "name_too_long": lambda folder: folder / f"{'a' * 5000}.yaml",
    "null_bytes": written(b"version: 1\nmodifiers: \0\0\0\n"),
    "latin_1": written(f"version: 1\ndescription: \u00fcber \u00e9\n{MINIMAL}".encode("latin-1")),
    "latin_1_after_utf_8": written(b"\xef\xbb\xbfversion: 1\n# \xc3\xbc\xc3\xbc \xfc\n"),
    "utf_16": written(MINIMAL.encode("utf-16")),
    "utf_16_without_mark": written(MINIMAL.encode("utf-16-le")),
    "weights_file": written(b"PK\x03\x04\x00\x00archive/data.pkl"),
    "crlf": written(b"version: 1\r\nmodifiers:\r\n  - {type: prune, allocation: lamp, sparsity: 30}\r\nmodel: 3\r\n"),
    "byte_order_mark": written(b"\xef\xbb\xbfversion: 2\nmodifiers: []\n"),
    "only_a_byte_order_mark": written(b"\xef\xbb\xbf"),
    "blank_lines": written(b"\n\r\n  \n\t\n"),
    "pipe": pipe,
    "pipe_extended": pipe_extended,
    "device": lambda folder: Path("/dev/null"),
    "loop": loop,
    "loop_extended": loop_extended,
    "link_to_a_folder_extended": folder_extended_by_link,
    "circle_by_link": circle_by_link,
    "null_extended": written(b'extends: "a\\0b.yaml"\n'),
    "long_name_extended": written(b"extends: " + b"a" * 5000 + b"\n"),
    "long_chain": long_chain,
    "code_that_is_no_character": written(b'version: 1\ndescription: "\\ud800"\n"\\uffff": 1\ndata: "\\uffff"\n'),
}


@pytest.mark.parametrize("name", MADE)
def test_file_that_cannot_be_read_is_refused_in_a_sentence(name: str, tmp_path: Path, update_golden: bool) -> None:
    path = MADE[name](tmp_path)
    draft = read_draft(path)
    text = "".join(f"{fault}\n" for fault in draft.faults)
    text = text.replace(f"{tmp_path.as_posix()}/", "").replace("a" * 5000, "aaa...")
    expected = GOLDENS / f"{name}.txt"
    if update_golden:
        expected.write_text(text, encoding="utf-8")
    assert draft.recipe is None
    assert text
    assert text == expected.read_text(encoding="utf-8")


def test_every_made_golden_is_made() -> None:
    assert sorted(path.stem for path in GOLDENS.iterdir()) == sorted([*MADE, "unreadable", "unreadable_extended"])


@pytest.mark.parametrize("name", ["unreadable", "unreadable_extended"])
def test_unreadable_file_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, update_golden: bool
) -> None:
    """As for a user without the right to read it; root reads everything, so the refusal itself is put in place."""
    secret = written(MINIMAL.encode(), "secret.yaml")(tmp_path)
    top = written(b"extends: secret.yaml\n")(tmp_path)
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "secret.yaml":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    draft = read_draft(secret if name == "unreadable" else top)
    text = "".join(f"{fault}\n" for fault in draft.faults).replace(f"{tmp_path.as_posix()}/", "")
    if update_golden:
        (GOLDENS / f"{name}.txt").write_text(text, encoding="utf-8")
    assert text == (GOLDENS / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "data",
    [
        MINIMAL.encode(),
        MINIMAL.replace("\n", "\r\n").encode(),
        MINIMAL.replace("\n", "\r").encode(),
        b"\xef\xbb\xbf" + MINIMAL.encode(),
        b"---\n" + MINIMAL.encode() + b"...\n",
        b"# \xf0\x9f\x8c\xb1\n" + MINIMAL.encode().rstrip(),
        b'{"version": 1, "modifiers": [{"type": "prune", "allocation": "lamp", "sparsity": 0.3}]}',
    ],
    ids=["plain", "crlf", "cr", "byte order mark", "document marks", "no newline at the end", "json"],
)
def test_what_editors_make_of_a_good_recipe_is_read_alike(data: bytes, tmp_path: Path) -> None:
    path = written(data)(tmp_path)
    plain = load_recipe(written(MINIMAL.encode(), "plain.yaml")(tmp_path)).recipe
    assert load_recipe(path).recipe == plain


def test_recipes_that_extend_one_recipe_on_two_ways_are_no_circle(tmp_path: Path) -> None:
    written(MINIMAL.encode(), "base.yaml")(tmp_path)
    written(b"extends: base.yaml\n", "a.yaml")(tmp_path)
    written(b"extends: base.yaml\ndata: coco.yaml\n", "b.yaml")(tmp_path)
    assert load_recipe(written(b"extends: [a.yaml, b.yaml]\n")(tmp_path)).recipe.data == "coco.yaml"


def test_fault_of_a_recipe_extended_on_two_ways_is_told_once(tmp_path: Path) -> None:
    written(b"version: 1\nmodifiers: yes\n", "base.yaml")(tmp_path)
    written(b"extends: base.yaml\n", "a.yaml")(tmp_path)
    written(b"extends: base.yaml\n", "b.yaml")(tmp_path)
    (fault,) = read_draft(written(b"extends: [a.yaml, b.yaml]\n")(tmp_path)).faults
    assert (fault.code, fault.line) == ("R107", 2)


def test_recipes_that_multiply_are_refused_before_they_cost_time(tmp_path: Path) -> None:
    for number in range(18):
        for side in "ab":
            written(f"extends: [{number + 1}a.yaml, {number + 1}b.yaml]\n".encode(), f"{number}{side}.yaml")(tmp_path)
    for side in "ab":
        written(MINIMAL.encode(), f"18{side}.yaml")(tmp_path)
    faults = read_draft(tmp_path / "0a.yaml").faults
    assert {fault.message for fault in faults} == {"the recipe extends more than 100 others"}


@pytest.mark.parametrize("command", ["apply", "plan", "check"])
@pytest.mark.parametrize("name", [name for name in MADE if name != "null_in_the_name"])  # which no shell can give
def test_command_ends_with_a_sentence_and_writes_nothing(
    command: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, empty = tmp_path / "made", tmp_path / "empty"
    made.mkdir()
    empty.mkdir()
    monkeypatch.chdir(empty)
    done = CliRunner().invoke(cli, [command, str(MADE[name](made))])
    assert done.exit_code == 2, done.output
    assert isinstance(done.exception, SystemExit)
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("name", ["pipe", "five_megabytes", "weights_file", "missing", "loop_extended"])
def test_process_ends_with_the_same_sentence(name: str, tmp_path: Path) -> None:
    path = MADE[name](tmp_path)
    before = sorted(tmp_path.iterdir())
    done = compressor("apply", path.name, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (GOLDENS / f"{name}.txt").read_text(encoding="utf-8")
    assert sorted(tmp_path.iterdir()) == before


def test_empty_name_is_the_folder_one_works_in(tmp_path: Path) -> None:
    done = compressor("plan", "", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ".: R108 cannot read the recipe: Is a directory\n  help: name a file in it\n"
