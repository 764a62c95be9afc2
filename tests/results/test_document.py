import json
from dataclasses import dataclass

from compressor.results.document import to_json


@dataclass(frozen=True)
class Named:
    """A record with one text."""

    name: str


def test_a_name_that_is_no_text_can_be_written_and_read() -> None:
    text = to_json(Named("caf\udce9.png, é and \\n"))  # a byte that is no UTF-8, as Python reads names
    assert json.loads(text.encode()) == {"name": "caf\\udce9.png, é and \\n"}
