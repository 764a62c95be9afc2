"""What the documentation shows is true: recipes load, keys are those of the schema, links lead somewhere."""

import re
from pathlib import Path

import pytest

from compressor.recipe.load import load_recipe
from compressor.recipe.schema import Artifact, Evaluation, Model, Part, Prune, Recipe

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RECIPES = [
    (page.name, number, block)
    for page in PAGES
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
    if "modifiers:" in block
]


@pytest.mark.parametrize(("page", "number", "text"), RECIPES, ids=lambda value: str(value)[:12])
def test_every_recipe_shown_is_valid(page: str, number: int, text: str) -> None:
    shown = ROOT / "recipes" / f".shown-{page}-{number}.yaml"  # beside the recipes it may extend
    shown.write_text(text, encoding="utf-8")
    try:
        assert load_recipe(shown).recipe.modifiers
    finally:
        shown.unlink()


def test_reference_names_every_key_and_default() -> None:
    text = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
    parts: dict[str, type[Part]] = {"model.": Model, "evaluation.": Evaluation, "artifact.": Artifact, "": Prune}
    for prefix, part in parts.items():
        for name, field in part.model_fields.items():
            row = next((line for line in text.splitlines() if line.startswith(f"| `{prefix}{name}` |")), None)
            assert row is not None, f"{prefix}{name}"
            if isinstance(field.default, str | int | float) and not isinstance(field.default, bool):
                assert f"`{field.default}`" in row, row
    for name in Recipe.model_fields:
        assert f"`{name}" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere_and_nothing_is_left_open(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "@@" not in text
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (page.parent / target).exists(), target


def test_architecture_names_every_module() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for file in (ROOT / "compressor").rglob("*.py"):
        part = file.relative_to(ROOT / "compressor").parts
        if file.name.startswith("__") or part[0] in ("cli", "modifiers", "training"):
            continue  # named as folders
        assert f"`{file.name}`" in text or f"`{part[0]}" in text, file
