from pathlib import Path

import numpy as np
import pytest

from compressor.data import shapes
from compressor.data.dataset import load_dataset, read_split
from compressor.data.shapes import NAMES, draw_scene, draw_shapes, label_text, shapes_dataset

SEEDS = range(60)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    counts = {"train": 3, "val": 2}
    monkeypatch.setattr(shapes, "IMAGES", counts)
    return counts


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_drawing_twice_gives_the_same_bytes(few: dict[str, int], tmp_path: Path) -> None:
    draw_shapes(tmp_path / "a")
    draw_shapes(tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]  # nothing drawn aside is left


def test_the_data_set_reads_without_complaint(few: dict[str, int], tmp_path: Path) -> None:
    dataset = load_dataset(str(draw_shapes(tmp_path / "shapes")))
    assert dataset.names == NAMES
    for name, count in few.items():
        split = read_split(dataset, name)
        assert len(split.samples) == count
        assert split.skipped == ()


def test_train_and_val_share_no_image(few: dict[str, int], tmp_path: Path) -> None:
    files = contents(draw_shapes(tmp_path / "shapes").parent / "images")
    assert len(set(files.values())) == sum(few.values())


def test_a_killed_drawing_leaves_nothing(few: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(scene: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(shapes, "label_text", stop)
    with pytest.raises(KeyboardInterrupt):
        draw_shapes(tmp_path / "shapes")
    assert list(tmp_path.iterdir()) == []


def test_the_cache_is_drawn_once_and_kept(few: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPRESSOR_CACHE", str(tmp_path))
    yaml = shapes_dataset()
    assert yaml == tmp_path / "datasets" / "shapes-v2" / "shapes.yaml"
    first = contents(yaml.parent)
    few["train"] = 1
    assert shapes_dataset() == yaml
    assert contents(yaml.parent) == first
    assert draw_shapes(yaml.parent) == yaml  # another process was first: its files stay
    assert contents(yaml.parent) == first


@pytest.mark.parametrize("seed", SEEDS)
def test_labels_lie_in_the_image_and_hug_what_is_in_view(seed: int) -> None:
    scene = draw_scene(seed)
    height, width = scene.shapes.shape
    assert scene.image.shape == (height, width, 3)
    assert set(np.unique(scene.shapes)) - {0} == set(range(1, len(scene.classes) + 1))
    lines = label_text(scene).splitlines()
    assert len(lines) == len(scene.classes)
    for k, line in enumerate(lines):
        class_index, xc, yc, w, h = (float(word) for word in line.split())
        assert int(class_index) == scene.classes[k]
        x1, y1, x2, y2 = (xc - w / 2) * width, (yc - h / 2) * height, (xc + w / 2) * width, (yc + h / 2) * height
        assert min(x1, y1) > -0.01
        assert (x2 < width + 0.01) and (y2 < height + 0.01)
        rows, columns = np.nonzero(scene.shapes == k + 1)
        extent = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert (x1, y1, x2, y2) == pytest.approx(extent, abs=0.01)


def test_every_class_and_every_size_of_coco_occurs_and_the_scenes_differ() -> None:
    scenes = [draw_scene(seed) for seed in SEEDS]
    areas = np.concatenate([np.prod(scene.boxes()[:, 2:] - scene.boxes()[:, :2], axis=1) for scene in scenes])
    assert {index for scene in scenes for index in scene.classes} == set(range(len(NAMES)))
    assert (areas < 32**2).mean() > 0.2
    assert (areas > 96**2).mean() > 0.05
    assert len({scene.image.shape for scene in scenes}) > 50


@pytest.mark.parametrize("seed", SEEDS)
def test_a_later_shape_never_hides_an_earlier_one_too_much(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole: list[int] = []
    place = shapes._place

    def remember(*arguments: object) -> object:
        placed = place(*arguments)  # type: ignore[arg-type]
        whole.extend([placed[1]] if placed else [])
        return placed

    monkeypatch.setattr(shapes, "_place", remember)
    scene = draw_scene(seed)
    in_view = np.bincount(scene.shapes.ravel(), minlength=len(whole) + 1)[1:]
    assert (in_view >= shapes.LEAST_VISIBLE * np.array(whole)).all()
