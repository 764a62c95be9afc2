import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.errors import InputError
from compressor.results.sensitivity import LayerLosses, SensitivityTable, load_table, table_text

LAYERS = (
    LayerLosses("model.0.conv", "stem", 864, ((0.25, 1e-7), (0.5, 0.1), (0.9, 2.5))),
    LayerLosses("model.24.m.0", "detect", 1536, ((0.5, -0.25),)),
)
TABLE = SensitivityTable(
    "tiny.pt", "ab" * 32, "before", "magnitude", "ap", False, "Ünïcode.yaml", 128, 640, "val", LAYERS
)


def write(folder: Path, text: str) -> Path:
    path = folder / "t.json"
    path.write_text(text, encoding="utf-8")
    return path


def changed(**keys: Any) -> str:
    return json.dumps({**json.loads(table_text(TABLE)), **keys})


def layer(**keys: Any) -> str:
    return changed(layers=[{"name": "a", "role": "neck", "weights": 8, "points": [[0.5, 1.0]], **keys}])


LOSSES = st.floats(allow_nan=False, allow_infinity=False)
POINTS = st.dictionaries(st.floats(0, 1, exclude_min=True, exclude_max=True), LOSSES, min_size=1, max_size=5)


@given(st.lists(st.tuples(st.text(), st.integers(1, 10**9), POINTS), max_size=4))
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[str, int, dict[float, float]]]
) -> None:
    layers = tuple(LayerLosses(name, "neck", weights, tuple(sorted(points.items()))) for name, weights, points in drawn)
    table = replace(TABLE, layers=layers)
    assert load_table(write(tmp_path_factory.getbasetemp(), table_text(table))) == table


def test_the_text_is_json_for_people_too() -> None:
    text = table_text(TABLE)
    assert text.endswith("}\n") and "Ünïcode.yaml" in text and text.count("\n") > 20
    assert json.loads(text)["schema"] == "compressor/tasks/sensitivity/1"


def test_a_layer_is_found_by_its_name() -> None:
    assert TABLE.of("model.24.m.0") == LAYERS[1]
    with pytest.raises(KeyError):
        TABLE.of("model.1.conv")


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        load_table(tmp_path / "t.json")
    (diagnostic,) = error.value.diagnostics
    assert diagnostic.code == "U907" and "compressor sensitivity" in str(diagnostic.help)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the document"),
        ("[]", "the document"),
        ("{}", "weights"),
        (changed(images="many"), "images"),
        (changed(schema="compressor/tasks/sensitivity/9"), "compressor/tasks/sensitivity/9"),
        (layer(points=[]), "layers.0.points"),
        (layer(points=[[0.0, 1.0]]), "layers.0.points.0.0"),
        (layer(points=[[1.0, 1.0]]), "layers.0.points.0.0"),
        (layer(points=[[0.5, None]]), "layers.0.points.0.1"),
        (layer(points=[[0.5, 1.0, 2.0]]), "layers.0.points.0"),
        (layer(points=[[0.5, 1.0], [0.5, 2.0]]), "sparsities must ascend"),
        (layer(points=[[0.5, 1.0], [0.3, 2.0]]), "sparsities must ascend"),
        (layer(weights=0), "layers.0.weights"),
        (layer(points=[[0.5, 1.0]]).replace("1.0", "NaN"), "layers.0.points.0.1"),
    ],
)
def test_a_file_that_is_not_a_table_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(InputError) as error:
        load_table(write(tmp_path, text))
    (diagnostic,) = error.value.diagnostics
    assert diagnostic.code == "U908" and expected in diagnostic.message


def test_a_loss_that_is_no_number_is_not_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        table_text(replace(TABLE, layers=(replace(LAYERS[0], points=((0.5, float("nan")),)),)))
