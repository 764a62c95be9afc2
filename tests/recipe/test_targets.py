import pytest
import regex
from pydantic_core import PydanticCustomError

from compressor.recipe.targets import (
    Entry,
    GlobEntry,
    KernelEntry,
    RegexEntry,
    RoleEntry,
    TypeEntry,
    entry_text,
    parse_entry,
)


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("neck", RoleEntry("neck")),
        ("C3", TypeEntry("C3")),
        ("c3", GlobEntry("c3")),  # another word, which names no layer
        ("kernel: 11x3", KernelEntry("11x3")),
        ("kernel", GlobEntry("kernel")),
        ("re:neck", RegexEntry(regex.compile("neck"))),
        ("re: .*[.]cv1", RegexEntry(regex.compile(" .*[.]cv1"))),
        ("model.*.cv1", GlobEntry("model.*.cv1")),
    ],
)
def test_entry_means_one_thing(text: str, entry: Entry) -> None:
    assert parse_entry(text) == entry
    assert entry_text(text) == text


@pytest.mark.parametrize(
    "text", ["", " ", "re:", "re: ", "re:(", "re:[a", "kernel:3x3", "kernel: 0x3", "kernel: 3x3\n"]
)
def test_entry_that_can_mean_no_layer_is_refused(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        parse_entry(text)
    assert entry_text(text) is None
