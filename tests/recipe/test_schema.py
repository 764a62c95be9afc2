from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from compressor.recipe.schema import Artifact, Evaluation, Model, Part, Prune, Recipe, models_in, of_type, words_of


class Shrink(Part):
    """A modifier that there is not."""

    type: Literal["shrink", "squeeze"]


@pytest.mark.parametrize(
    ("annotation", "models", "words"),
    [
        (Recipe.model_fields["modifiers"].annotation, [Prune], []),
        (Prune.model_fields["allocation"].annotation, [], ["uniform", "global", "lamp", "erk"]),
        (Prune.model_fields["sparsity"].annotation, [], []),
        (bool | None, [], ["true", "false"]),
        (Literal["bool", 2], [], ["bool", "2"]),
        (tuple[Annotated[Prune | Shrink, Field(discriminator="type")], ...], [Prune, Shrink], []),
        (dict[str, Annotated[Model | Literal["none"], Field()]] | None, [Model], ["none"]),
    ],
)
def test_annotation_tells_its_models_and_words(annotation: Any, models: list[type[Part]], words: list[str]) -> None:
    assert (models_in(annotation), words_of(annotation)) == (models, words)


def test_modifier_is_known_by_its_type() -> None:
    both: list[type[Part]] = [Prune, Shrink]
    assert [of_type(both, word) for word in ("prune", "squeeze")] == [[Prune], [Shrink]]
    assert [of_type(both, word) for word in ("prun", None, ["prune"], 3)] == [both] * 4
    assert of_type([Evaluation, Artifact], "prune") == [Evaluation, Artifact]
