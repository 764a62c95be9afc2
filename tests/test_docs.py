"""What the documentation shows is true: recipes load and fit a model, links lead somewhere, modules are named."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from compressor.progress import Silent
from compressor.recipe.load import RecipeFile, load_recipe
from compressor.recipe.overrides import Override, parse_set
from compressor.results.plan import Plan
from compressor.run.pipeline import plan
from compressor.run.readiness import Options
from trials.tiny import tiny_weights

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ERRORS = ROOT / "docs" / "reference" / "errors.md"  # shows wrong recipes too; tests/rules runs its examples
BLOCKS = [
    (page.relative_to(ROOT).as_posix(), number, block)
    for page in PAGES
    if page != ERRORS
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
]
SHOWN = [shown for shown in BLOCKS if re.search("^(modifiers|extends):", shown[2], re.MULTILINE)]
FRAGMENTS = [shown for shown in BLOCKS if shown not in SHOWN]
SHIPPED = sorted((ROOT / "recipes").glob("*.yaml"))
SIZED = [path for path in SHIPPED if re.match("yolov5[nsmlx]_", path.name)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An N-sized YOLOv5 of a sixteenth of the width: as many layers, 4 to 64 channels, enough for groups of four."""
    return tiny_weights(tmp_path_factory.mktemp("weights"))


def loaded(path: Path, weights: Path) -> RecipeFile:
    """The recipe with the weights given as on the command line; small images, since only times depend on them."""
    given = Override(("model", "weights"), str(weights), "--weights", literal=True)
    return load_recipe(path, (given, parse_set("evaluation.image_size=64"), parse_set("evaluation.batch_size=1")))


def planned(path: Path, weights: Path) -> Plan:
    return plan(loaded(path, weights), Options(Path("nowhere"), "cpu"), Silent())


def test_recipes_are_found_on_the_pages() -> None:
    pages = [page for page, _, _ in SHOWN]
    assert pages.count("docs/recipe.md") >= 8
    assert "README.md" in pages
    assert "docs/data.md" in [page for page, _, _ in FRAGMENTS]


@pytest.mark.parametrize(("page", "number", "text"), SHOWN, ids=lambda value: str(value)[:16])
def test_every_recipe_shown_can_be_planned(page: str, number: int, text: str, weights: Path, tmp_path: Path) -> None:
    for recipe in SHIPPED:
        shutil.copy(recipe, tmp_path)  # what is shown may extend them
    shown = tmp_path / "shown.yaml"
    shown.write_text(text, encoding="utf-8")
    steps = planned(shown, weights).steps
    assert len(steps) == len(load_recipe(shown).recipe.modifiers)
    assert all(step.pruned or not step.prunes for step in steps)


@pytest.mark.parametrize(("page", "number", "text"), FRAGMENTS, ids=lambda value: str(value)[:16])
def test_every_fragment_shown_can_be_parsed(page: str, number: int, text: str) -> None:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert isinstance(yaml.safe_load(text), dict) or not lines


@pytest.mark.parametrize("path", SIZED, ids=lambda path: path.stem)
def test_every_recipe_of_a_size_is_its_family_with_weights(path: Path) -> None:
    family = path.with_name(f"yolov5_{path.stem.partition('_')[2]}.yaml")
    own, theirs = (load_recipe(each).recipe.model_dump(exclude={"description"}) for each in (path, family))
    assert own.pop("model") == {**theirs.pop("model"), "weights": f"{path.stem.partition('_')[0]}.pt"}
    assert own == theirs


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_recipe_named_is_shipped(page: Path) -> None:
    named = set(re.findall(r"recipes/(\w+\.yaml)", page.read_text(encoding="utf-8")))
    assert named <= {path.name for path in SHIPPED} | {"X.yaml", "dmeo.yaml"}  # a placeholder, and an error's example


def test_messages_shown_in_the_guide_are_those_of_the_engine(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
    place, message = re.findall(r"^mine\.yaml:(\d+:\d+): (R.*\n  help: .*)$", guide, re.MULTILINE)[0]
    line, column = map(int, place.split(":"))
    head = "version: 1\nmodifiers:\n  - type: prune\n    sparsity: 0.3\n"
    text = head + "\n" * (line - head.count("\n") - 1) + f"{'    allocation: ':<{column - 1}}lampp\n"
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(Exception, match="R105") as caught:
        load_recipe(tmp_path / "mine.yaml")
    assert str(caught.value).endswith(f"mine.yaml:{place}: {message}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere_and_nothing_is_left_open(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "@@" not in text
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    for file, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", prose):
        target = page.parent / file if file else page
        assert target.exists(), file
        assert not anchor or anchor in anchors(target), anchor


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_architecture_names_every_module() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for file in (ROOT / "compressor").rglob("*.py"):
        part = file.relative_to(ROOT / "compressor").parts
        if file.name.startswith("__") or part[0] in ("cli", "modifiers", "training"):
            continue  # named as folders
        assert f"`{file.name}`" in text or part[0] in ("export", "rules"), file
