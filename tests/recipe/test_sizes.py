import pytest

from compressor.recipe.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2.5MB", ("size_bytes", 2_500_000)),
        ("2500 kb", ("size_bytes", 2_500_000)),
        ("0.1GB", ("size_bytes", 100_000_000)),
        ("7B", ("size_bytes", 7)),
        ("60%", ("share", 0.6)),
        ("12.5 %", ("share", 0.125)),
    ],
)
def test_size_is_read_without_rounding(text: str, expected: tuple[str, float]) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "2.5", "MB", "-2MB", "2,5MB", "2.5MiB", "1e3kB", "2MB ", "half", "0x2MB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a size; write 2\.5MB, 2500kB, or 60%"):
        parse_size(text)
