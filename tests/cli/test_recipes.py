"""`compressor recipes`: what comes with compressor, listed, printed and copied, in any folder."""

from pathlib import Path

import pytest

from compressor.recipe.shipped import shipped_recipes
from trials.commands import compressor


def test_every_shipped_recipe_is_listed_with_its_purpose(tmp_path: Path) -> None:
    done = compressor("recipes", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.strip()}
    assert {each.stem for each in shipped_recipes()} <= set(rows)
    assert all(rows[each.stem] for each in shipped_recipes())
    assert not any("${" in line for line in done.stdout.splitlines())


def test_one_is_printed_or_copied_and_nothing_is_replaced_unless_asked_to(tmp_path: Path) -> None:
    text = next(each for each in shipped_recipes() if each.stem == "demo").read_text()
    assert compressor("recipes", "demo", cwd=tmp_path).stdout.rstrip() == text.rstrip()
    copy = ("recipes", "demo.yaml", "--output", "mine.yaml")
    assert compressor(*copy, cwd=tmp_path).returncode == 0
    assert (tmp_path / "mine.yaml").read_text() == text
    (tmp_path / "mine.yaml").write_text("version: 1\n")
    again = compressor(*copy, cwd=tmp_path)
    assert (again.returncode, "O601" in again.stderr) == (2, True)
    assert (tmp_path / "mine.yaml").read_text() == "version: 1\n"
    assert compressor(*copy, "--force", cwd=tmp_path).returncode == 0
    assert (tmp_path / "mine.yaml").read_text() == text
    assert compressor("check", "mine.yaml", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("accurate5",), "accurate5: U960 no recipe of this name comes with compressor"),
        (("--output", "mine.yaml"), "U920"),
        (("demo", "--json"), "U920"),
        (("demo", "--force"), "--force replaces a file"),
    ],
)
def test_what_it_cannot_do_is_refused(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    done = compressor("recipes", *words, cwd=tmp_path)
    assert (done.returncode, message in done.stderr) == (2, True)
    assert not list(tmp_path.iterdir())


def test_a_misspelt_name_leads_to_the_shipped_recipe(tmp_path: Path) -> None:
    done = compressor("plan", "demoo", cwd=tmp_path)
    assert done.returncode == 2
    assert "demoo: R108" in done.stderr
    assert "did you mean 'demo', which comes with compressor?" in done.stderr
