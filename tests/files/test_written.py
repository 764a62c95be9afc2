"""Whatever compressor did not write just so is kept aside when its place is taken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from compressor.files.written import is_known, put
from compressor.progress import Silent
from compressor.results.document import to_json
from compressor.run.folder import PAGE, RECORD, REPORT, digests, sha256, written_aside
from tests.report.made_up import record


class Told(Silent):
    """Gathers warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPRESSOR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def made(folder: Path, text: str) -> Path:
    file = folder / "made"
    file.write_text(text)
    return file


def test_what_compressor_wrote_is_replaced_and_what_was_changed_is_kept(tmp_path: Path) -> None:
    place, told = tmp_path / "page.md", Told()
    for text in ("one", "two", "two"):
        put(made(tmp_path, text), place, told)
    assert told.warnings == []
    place.write_text("two, and my notes")
    put(made(tmp_path, "three"), place, told)
    assert place.read_text() == "three"
    assert (tmp_path / "page.kept.md").read_text() == "two, and my notes"
    assert told.warnings == [f"{place}: not as compressor wrote it, so it is kept: {tmp_path / 'page.kept.md'}"]
    place.write_text("more notes")
    put(made(tmp_path, "four"), place, told)
    assert (tmp_path / "page.kept2.md").read_text() == "more notes"
    place.write_text("more notes")
    put(made(tmp_path, "five"), place, told)
    assert sorted(file.name for file in tmp_path.glob("page*")) == ["page.kept.md", "page.kept2.md", "page.md"]


def test_a_changed_folder_is_kept_whole(tmp_path: Path) -> None:
    place, told = tmp_path / "model", Told()
    for text in ("one", "two"):
        folder = tmp_path / "made"
        folder.mkdir()
        (folder / "model.xml").write_text(text)
        put(folder, place, told)
        assert is_known(place)
        (place / "model.xml").write_text(f"{text}, changed")
    assert (tmp_path / "model.kept" / "model.xml").read_text() == "one, changed"
    assert len(told.warnings) == 1


def test_without_a_cache_everything_is_kept(tmp_path: Path, cache: Path) -> None:
    cache.write_text("no folder")
    place = tmp_path / "page.md"
    for text in ("one", "two"):
        put(made(tmp_path, text), place, Silent())
    assert (tmp_path / "page.kept.md").read_text() == "one"


def run_at(folder: Path) -> None:
    """An earlier run of two files."""
    folder.mkdir()
    (folder / "model.safetensors").write_text("weights")
    (folder / "sparsity.png").write_text("picture")
    files = digests(folder)
    (folder / REPORT).write_text("# report")
    run = replace(record(), files=files, report_sha256=sha256(folder / REPORT))
    (folder / RECORD).write_text(to_json(run))


def replaced(output: Path, told: Told) -> None:
    with written_aside(output, force=True, resume=False, progress=told) as (folder, _):
        (folder / RECORD).write_text("new")


def test_a_run_is_replaced_without_a_trace(tmp_path: Path) -> None:
    output, told = tmp_path / "run", Told()
    run_at(output)
    replaced(output, told)
    assert told.warnings == []
    assert [file.name for file in tmp_path.glob("run*")] == ["run"]


def test_a_foreign_page_and_an_edited_report_are_kept_when_a_run_is_replaced(tmp_path: Path) -> None:
    output, told = tmp_path / "run", Told()
    run_at(output)
    (output / PAGE).write_text("<p>mine</p>")
    (output / REPORT).write_text("# report\n\nmy notes")
    replaced(output, told)
    assert (output / RECORD).read_text() == "new"
    kept = {file.name: file.read_text() for file in (tmp_path / "run.kept").iterdir()}
    assert kept == {PAGE: "<p>mine</p>", REPORT: "# report\n\nmy notes"}
    assert told.warnings == [
        f"{PAGE}, {REPORT} of {output}: not as compressor wrote it, so it is kept: {tmp_path / 'run.kept'}"
    ]


def test_a_run_that_fails_leaves_the_earlier_one_and_keeps_nothing_twice(tmp_path: Path) -> None:
    output, told = tmp_path / "run", Told()
    run_at(output)
    (output / REPORT).write_text("notes")
    with (
        pytest.raises(RuntimeError),
        written_aside(output, force=True, resume=False, progress=told) as (folder, _),
    ):
        (folder / RECORD).write_text("half")
        raise RuntimeError
    assert (output / REPORT).read_text() == "notes"
    assert not (tmp_path / "run.kept").exists()
    (tmp_path / "run.kept").mkdir()  # as a process leaves it that was killed before the new run took the place
    (tmp_path / "run.kept" / REPORT).write_text("notes")
    replaced(output, told)
    assert [file.name for file in sorted(tmp_path.glob("run*"))] == ["run", "run.kept"]
