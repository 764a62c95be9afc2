"""Every bad recipe in `faults/` beside the exact text a user reads. Run with --update-golden to rewrite the texts."""

from pathlib import Path

import pytest

from compressor.errors import RecipeError
from compressor.recipe.load import load_recipe

FAULTS = sorted((Path(__file__).parent / "faults").glob("*.yaml"))


@pytest.mark.parametrize("recipe", FAULTS, ids=lambda path: path.stem)
def test_fault_is_told_with_its_place_and_mend(recipe: Path, update_golden: bool) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe)
    assert caught.value.exit_code == 2
    text = str(caught.value).replace(recipe.parent.as_posix() + "/", "") + "\n"
    expected = recipe.with_suffix(".txt")
    if update_golden:
        expected.write_text(text, encoding="utf-8")
    assert text == expected.read_text(encoding="utf-8")
