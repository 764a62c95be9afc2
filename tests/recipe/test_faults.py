"""Every bad recipe in `faults/` beside the exact text a user reads. Run with --update-golden to rewrite the texts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from compressor.cli.main import cli
from compressor.errors import Diagnostic
from compressor.recipe.load import in_file_order, read_draft
from compressor.rules.catalogue import rules
from compressor.tasks.check import stock_misfits
from trials.commands import compressor

FOLDER = Path(__file__).parent / "faults"
FAULTS = sorted(FOLDER.glob("*.yaml"))
PYTHON_WORDS = re.compile(r"\b(tuple|None|True|False|dict|str|int|float|NoneType|discriminator|pydantic|Traceback)\b")
CODES = {rule.code for rule in rules()}


def told(path: Path) -> list[Diagnostic]:
    """All that can be said of a recipe without its weights, in file order."""
    draft = read_draft(path)
    assert (draft.recipe is None) == bool(draft.faults)
    return list(dict.fromkeys(in_file_order([*draft.faults, *stock_misfits(draft)])))


def text_of(faults: list[Diagnostic]) -> str:
    return "".join(f"{fault}\n" for fault in faults).replace(f"{FOLDER.as_posix()}/", "")


@pytest.mark.parametrize("recipe", FAULTS, ids=lambda path: path.stem)
def test_fault_is_told_with_its_place_and_mend(recipe: Path, update_golden: bool) -> None:
    text = text_of(told(recipe))
    expected = recipe.with_suffix(".txt")
    if update_golden:
        expected.write_text(text, encoding="utf-8")
    assert text
    assert text == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize("recipe", FAULTS, ids=lambda path: path.stem)
def test_every_fault_stands_in_the_file_and_is_put_in_plain_words(recipe: Path) -> None:
    for fault in told(recipe):
        assert fault.path is not None
        lines = [*Path(fault.path).read_text(encoding="utf-8").splitlines(), ""]
        assert fault.line is not None
        assert fault.column is not None
        assert 1 <= fault.line <= len(lines)
        assert 1 <= fault.column <= len(lines[fault.line - 1]) + 1
        assert fault.code in CODES
        # what the writer typed may well be Python; what we say of it may not
        own = re.sub(r"'[^']*'|\$\{[^}]*\}|!\S+", "", fault.message)
        assert not PYTHON_WORDS.search(own), own
        assert len(str(fault)) < 700
        assert str(fault).replace("\n  help: ", "").isprintable()


def test_corpus_is_whole() -> None:
    assert len(FAULTS) > 180
    assert [path.name for path in FOLDER.glob("*.txt") if not path.with_suffix(".yaml").is_file()] == []


def test_no_two_goldens_are_one_recipe() -> None:
    texts = [path.read_bytes() for path in FAULTS]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("command", ["apply", "plan"])
def test_every_command_refuses_the_whole_corpus_and_writes_nothing(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for recipe in FAULTS:
        done = CliRunner().invoke(cli, [command, str(recipe)])
        assert done.exit_code == 2, (recipe, done.output)
        assert isinstance(done.exception, SystemExit), recipe
        assert "Traceback" not in done.output
        if told(recipe)[0].code.startswith("R1"):
            first = recipe.with_suffix(".txt").read_text(encoding="utf-8").splitlines()[0]
            assert first in done.output, recipe
    assert list(tmp_path.iterdir()) == []


def test_one_run_of_check_tells_every_fault_of_every_recipe() -> None:
    before = sorted(path.name for path in FOLDER.iterdir())
    done = compressor("check", *(path.name for path in FAULTS), cwd=FOLDER)
    assert done.returncode == 2
    for recipe in FAULTS:
        assert recipe.with_suffix(".txt").read_text(encoding="utf-8") in done.stdout + done.stderr, recipe
    assert sorted(path.name for path in FOLDER.iterdir()) == before


@pytest.mark.parametrize("name", ["tag_that_would_run", "expression_that_would_run", "aliases_that_explode", "tags"])
def test_hostile_recipe_ends_a_process_with_a_sentence(name: str, tmp_path: Path) -> None:
    done = compressor("apply", FOLDER / f"{name}.yaml", cwd=tmp_path)
    expected = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.replace(f"{FOLDER.as_posix()}/", "").endswith(expected)
    assert list(tmp_path.iterdir()) == []


def test_ten_faults_in_ten_places_are_told_in_one_run_in_file_order() -> None:
    faults = told(FOLDER / "ten_faults_in_ten_places.yaml")
    places = [(fault.line, fault.column) for fault in faults]
    assert len(set(places)) == len(places) >= 10
    assert places == sorted(places)
    assert {fault.code for fault in faults} == {"R101", "R103", "R104", "R105", "R106", "R107", "R115", "R116", "P201"}
