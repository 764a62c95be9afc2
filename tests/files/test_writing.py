"""What is written aside leaves nothing behind, and only faults of the place are told as such."""

import errno
from pathlib import Path

import pytest

from compressor.errors import OutputError
from compressor.files.writing import check_place, publish, staged


def test_folder_lies_beside_the_output_and_is_gone_afterwards(tmp_path: Path) -> None:
    output = tmp_path / "new" / "thing"
    with staged(output) as folder:
        assert folder.parent == output.parent
        (folder / "part").touch()
        (folder / "part").replace(output)
    assert list(output.parent.iterdir()) == [output]


def test_fault_of_the_place_is_told_and_any_other_is_passed_on(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "data.yaml"
    with pytest.raises(FileNotFoundError), staged(tmp_path / "here" / "thing"):
        elsewhere.read_bytes()
    with pytest.raises(OutputError, match="thing: O602 cannot write here: "), staged(tmp_path / "here" / "thing"):
        (tmp_path / "here" / "gone").read_bytes()
    assert list((tmp_path / "here").iterdir()) == []


def test_only_our_own_is_replaced_and_only_when_asked_to(tmp_path: Path) -> None:
    place, link = tmp_path / "thing", tmp_path / "link"
    check_place(place, "run", "folder", lambda _: False, force=False)
    place.touch()
    check_place(place, "run", "folder", lambda _: True, force=True)
    with pytest.raises(OutputError, match=r"O601 there is a run here already\n.*folder.*replace the run with --force"):
        check_place(place, "run", "folder", lambda _: True, force=False)
    link.symlink_to(place)
    not_a_run = r"O603 there is something here that is not a run\n.*another folder"
    with pytest.raises(OutputError, match=not_a_run):
        check_place(place, "run", "folder", lambda _: False, force=True)
    with pytest.raises(OutputError, match=not_a_run):
        check_place(link, "run", "folder", lambda _: True, force=True)


def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="thing: O602 cannot write here: No space left"), staged(tmp_path / "thing"):
        raise OSError(errno.ENOSPC, "No space left on device")  # as a write says it, without a name
    assert not list(tmp_path.iterdir())


def test_the_working_folder_itself_can_be_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    with staged(Path()) as folder:
        assert folder.parent == tmp_path
        made = folder / "made"
        made.mkdir()
        (made / "file").touch()
        publish(made, Path())
    assert [path.name for path in tmp_path.rglob("*")] == ["here", "file"]
