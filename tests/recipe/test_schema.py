from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError

from compressor.recipe.modifiers import Prune, Repair
from compressor.recipe.modifiers.budget import Budget, is_budget
from compressor.recipe.modifiers.step import Calibration
from compressor.recipe.part import Part, models_in, of_type, words_of
from compressor.recipe.schema import Artifact, Evaluation, Model, Recipe
from compressor.recipe.targets import MODULE_TYPES, ROLES


class Shrink(Part):
    """A modifier that there is not."""

    type: Literal["shrink", "squeeze"]


@pytest.mark.parametrize(
    ("annotation", "models", "words"),
    [
        (Recipe.model_fields["modifiers"].annotation, [Prune, Repair], []),
        (Prune.model_fields["allocation"].annotation, [], ["uniform", "global", "lamp", "erk", "sensitivity"]),
        (Prune.model_fields["sparsity"].annotation, [Budget], []),
        (Prune.model_fields["calibration"].annotation, [Calibration], []),
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


def test_no_target_is_taken_for_a_budget() -> None:
    entries = [*ROLES, *MODULE_TYPES, "*", "kernel: 3x3", "re:model[.]2.*", "model.2.cv1.conv", "model.*.m.*"]
    assert [entry for entry in entries if is_budget({entry: 0.3})] == []
    assert all(is_budget({key: 1}) for key in (*Budget.model_fields, "ap_dorp", "Size", "image", "ap-drop"))
    others: list[object] = [{}, 0.3, None, "size", ["size"]]
    assert not any(map(is_budget, others))


SETTINGS = {
    **dict.fromkeys(("damping", "crops"), ("least_squares", "obs")),
    "crop": ("least_squares", "obs", "distill"),
    **dict.fromkeys(("steps", "batch_size", "learning_rate"), ("distill",)),
}


@pytest.mark.parametrize("method", words_of(Repair.model_fields["method"].annotation))
def test_repair_holds_the_settings_of_its_method_alone(method: str) -> None:
    repair = Repair.model_validate({"type": "repair", "method": method})
    held = {key for key in SETTINGS if getattr(repair, key) is not None}
    assert held == {key for key, owners in SETTINGS.items() if method in owners}
    assert repair.calibration == Calibration()


@pytest.mark.parametrize("score", words_of(Prune.model_fields["score"].annotation))
def test_prune_holds_the_settings_of_its_score_alone(score: str) -> None:
    values = {"type": "prune", "allocation": "lamp", "sparsity": 0.5, "score": score}
    prune = Prune.model_validate(values)
    assert (prune.seed, prune.calibration) == (
        0 if score == "random" else None,
        Calibration() if score == "wanda" else None,
    )


def test_budget_is_found_in_a_modifier() -> None:
    values = {"type": "prune", "allocation": "lamp", "sparsity": {"ap_drop": 0.005}}
    assert Prune.model_validate(values).goal == ("sparsity", Budget(ap_drop=0.005, images=128))
    assert Prune.model_validate({**values, "sparsity": {"size": "60%"}}).goal == ("sparsity", Budget(size="60%"))
    assert Prune.model_validate({**values, "sparsity": {"neck": 0.3}}).goal is None


def test_every_budget_but_the_first_is_refused_at_its_place() -> None:
    asking = {"type": "prune", "allocation": "lamp", "sparsity": {"size": "60%"}}
    steps = [{**asking, "targets": [role]} for role in ROLES]
    with pytest.raises(ValidationError) as caught:
        Recipe.model_validate({"version": 1, "modifiers": [{"type": "repair"}, *steps]})
    places = [(fault["type"], fault["loc"]) for fault in caught.value.errors()]
    assert places == [("R114", ("modifiers", index, "prune", "sparsity")) for index in (2, 3, 4)]
