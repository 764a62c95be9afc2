"""Faults of a recipe as they will be told with modifiers of several types."""

from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from compressor.recipe import messages
from compressor.recipe.modifiers import Prune
from compressor.recipe.nodes import parse
from compressor.recipe.part import Part
from compressor.recipe.schema import Recipe


class Shrink(Part):
    """A modifier that there is not."""

    type: Literal["shrink"]
    width: int = Field(8, ge=1)


class Both(Recipe):
    """A recipe that may hold it."""

    modifiers: Annotated[  # type: ignore[assignment]  # wider than today's, which is the point
        tuple[Annotated[Prune | Shrink, Field(discriminator="type")], ...], Field(strict=False, min_length=1)
    ]


def told(monkeypatch: pytest.MonkeyPatch, modifier: str) -> list[str]:
    monkeypatch.setattr(messages, "Recipe", Both)
    monkeypatch.setattr(messages, "MODIFIERS", {"prune": Prune, "shrink": Shrink})
    root = parse(f"version: 1\nmodifiers:\n  - {modifier}\n", "r.yaml", [])
    with pytest.raises(ValidationError) as caught:
        Both.model_validate(root.plain())
    found = messages.faults_of(caught.value, root)
    return [f"{fault.line}:{fault.column} {fault.code} {fault.message}; {fault.help}" for fault in found]


@pytest.mark.parametrize(
    ("modifier", "expected"),
    [
        ("{type: shrink, width: 0}", ["3:27 R103 modifiers[0].width must be at least 1, got 0; None"]),
        (
            "{type: shrink, wide: 3}",
            ["3:20 R101 unknown key 'wide' in modifiers[0]; did you mean 'width'?"],
        ),
        (
            "{type: shrink, pattern: 3}",
            ["3:20 R101 unknown key 'pattern' in modifiers[0]; it is a key of a modifier of type prune"],
        ),
        ("{type: shrink, zzz: 3}", ["3:20 R101 unknown key 'zzz' in modifiers[0]; known keys: type, width"]),
        (
            "{type: shrnk, width: 0}",
            [
                "3:12 R105 modifiers[0].type must be 'prune' or 'shrink', got the text 'shrnk'; did you mean 'shrink'?",
                "3:26 R103 modifiers[0].width must be at least 1, got 0; None",
            ],
        ),
        (
            "{type: distil, teacher: x.pt}",
            ["3:12 R105 modifiers[0].type must be 'prune' or 'shrink', got the text 'distil'; None"],
        ),
        ("{type: 3, width: 4}", ["3:12 R105 modifiers[0].type must be 'prune' or 'shrink', got 3; None"]),
        ("{typ: shrink, width: 3}", ["3:6 R101 unknown key 'typ' in modifiers[0]; did you mean 'type'?"]),
        ("{width: 3}", ["3:5 R102 modifiers[0].type is missing; add type: prune or type: shrink"]),
        (
            "{shrink: {width: 3}}",
            [
                "3:6 R101 unknown key 'shrink' in modifiers[0]; "
                "write the type as a value beside the other keys: type: shrink"
            ],
        ),
        (
            "shrink",
            [
                "3:5 R104 modifiers[0] must be a mapping of keys to values, got the text 'shrink'; "
                "start each modifier with a dash: - {type: prune, allocation: lamp, sparsity: 0.3}"
            ],
        ),
        (
            "{type: prune, allocation: erk, sparsity: {neck: 3}}",
            ["3:53 R103 modifiers[0].sparsity.neck must be below 1"],
        ),
        ("{type: !word prune}", []),  # whose fault is told elsewhere
    ],
)
def test_modifier_is_judged_by_its_own_type(
    modifier: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = told(monkeypatch, modifier)
    assert len(found) == len(expected)
    assert all(fault.startswith(start) for fault, start in zip(found, expected, strict=True)), found
