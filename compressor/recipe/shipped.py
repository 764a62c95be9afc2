"""The recipes that come with compressor, found by name where no file of that name is there."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
FOLDER = next((each for each in (_PACKAGE / "recipes", _PACKAGE.parent / "recipes") if each.is_dir()), None)


def shipped_recipes() -> list[Path]:
    """All of them, by name."""
    return sorted(FOLDER.glob("*.yaml")) if FOLDER else []


def shipped(name: str) -> Path | None:
    """The shipped recipe that `demo`, `demo.yaml` or `recipes/demo.yaml` names; None where there is none."""
    stem = name.removeprefix("recipes/").removesuffix(".yaml")
    return {each.stem: each for each in shipped_recipes()}.get(stem)


def found(path: Path, name: str | None = None) -> Path:
    """The file at `path`, or the shipped recipe of that name where nothing is there.

    Args:
        path: where the file would be.
        name: as it was written, where it counts from another folder than the working one.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        return shipped(path.as_posix() if name is None else name) or path
    except (OSError, ValueError):  # whoever reads it says why it cannot be read
        return path
    return path
