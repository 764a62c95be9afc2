from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from compressor.data.calibration import draw, find_calibration_images, load_images, random_crops
from compressor.errors import DatasetError
from tests.data.images import noise, write_image
from trials.tiny import tiny_data


def code(error: pytest.ExceptionInfo[DatasetError]) -> str:
    return error.value.diagnostics[0].code


def test_a_folder_gives_all_its_images_by_path(tmp_path: Path) -> None:
    made = [write_image(tmp_path / name) for name in ("b.png", "a/c.jpg", "a.png")]
    (tmp_path / "notes.txt").write_text("no image")
    assert find_calibration_images(str(tmp_path), "train") == sorted(made, key=str)


def test_a_data_set_gives_the_split(tmp_path: Path) -> None:
    yaml = tiny_data(tmp_path)
    assert [path.parent.name for path in find_calibration_images(str(yaml), "train")] == ["train"] * 5
    assert [path.parent.name for path in find_calibration_images(str(yaml), "val")] == ["images"] * 6
    with pytest.raises(DatasetError) as error:
        find_calibration_images(str(yaml), "test")
    assert code(error) == "D403"


def test_a_source_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as error:
        find_calibration_images(str(tmp_path / "nothing"), "train")
    assert code(error) == "D402"


def test_no_image_is_told(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("")
    yaml = tmp_path / "d.yaml"
    yaml.write_text("path: .\ntrain: list.txt\nval: list.txt\nnames: [a]\n")
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "empty", yaml):
        with pytest.raises(DatasetError) as error:
            find_calibration_images(str(source), "train")
        assert code(error) == "D404" and error.value.diagnostics[0].path == str(source)


def test_a_draw_is_told_by_its_seed() -> None:
    files = [Path(f"{i}.png") for i in range(20)]
    drawn = draw(files, 8, 0)
    assert drawn == draw(files, 8, 0) != draw(files, 8, 1)
    assert len(set(drawn)) == 8 and set(drawn) <= set(files)
    assert [path.name for path in draw(files, 3, 0)] == ["18.png", "1.png", "19.png"]  # on every machine
    assert draw(files, 5, 0) == drawn[:5]
    assert sorted(draw(files, 500, 3), key=str) == sorted(files, key=str)


def test_images_are_rgb_fitted_and_centred_on_grey(tmp_path: Path) -> None:
    square = write_image(tmp_path / "square.png", 64, 64)
    wide = write_image(tmp_path / "wide.png", 64, 32, seed=1)
    small = write_image(tmp_path / "small.png", 32, 16)
    found = load_images([square, wide, small], 64)
    assert found.shape == (3, 3, 64, 64) and found.dtype == torch.float32
    rgb = noise(64, 64)[:, :, ::-1].transpose(2, 0, 1).astype(np.float32) / 255
    np.testing.assert_allclose(found[0].numpy(), rgb, atol=1e-6)
    rgb = noise(64, 32, 1)[:, :, ::-1].transpose(2, 0, 1).astype(np.float32) / 255
    np.testing.assert_allclose(found[1, :, 16:48].numpy(), rgb, atol=1e-6)
    for border in (found[1, :, :16], found[1, :, 48:], found[2, :, :16]):
        torch.testing.assert_close(border, torch.full_like(border, 114 / 255))
    assert float(found[2, :, 16:48].std()) > 0.1  # enlarged


def test_an_image_that_cannot_be_decoded_is_told(tmp_path: Path) -> None:
    good, broken = write_image(tmp_path / "a.png"), tmp_path / "b.png"
    broken.write_bytes(good.read_bytes()[:60])
    with pytest.raises(DatasetError) as error:
        load_images([good, broken], 64)
    assert code(error) == "D405" and error.value.diagnostics[0].path == str(broken)


def test_an_image_that_is_gone_is_told(tmp_path: Path) -> None:
    gone = write_image(tmp_path / "a.png")
    gone.unlink()
    with pytest.raises(DatasetError) as error:
        load_images([gone], 64)
    assert code(error) == "D405" and "No such file" in error.value.diagnostics[0].message


def test_an_image_that_was_replaced_since_it_was_read_is_refused_by_name(tmp_path: Path) -> None:
    file, known = write_image(tmp_path / "1.png", seed=1), dict[Path, str]()
    assert torch.equal(load_images([file], 64, known), load_images([file], 64, known))
    write_image(file, seed=2)
    with pytest.raises(DatasetError, match=r"1\.png: D430 this image was replaced"):
        load_images([file], 64, known)


def test_which_images_are_taken_is_told_where_there_is_a_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in ("mine/train", "sets/mine/train"):
        write_image(tmp_path / place / "1.png")
    (tmp_path / "sets/mine.yaml").write_text("path: mine\ntrain: train\nval: val\nnc: 1\n")
    told: list[str] = []
    assert find_calibration_images("sets/mine.yaml", "train", told.append) == [tmp_path / "sets/mine/train/1.png"]
    assert [sentence.partition(":")[0] for sentence in told] == [
        "the train images are those of sets/mine/train; the YAML could also mean mine/train"
    ]


def test_listed_images_that_are_not_there_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "1.png")
    (tmp_path / "train.txt").write_text("1.png\n2.png\n3.png\n")
    (tmp_path / "mine.yaml").write_text("path: .\ntrain: train.txt\nval: train.txt\nnc: 1\n")
    told: list[str] = []
    assert find_calibration_images("mine.yaml", "train", told.append) == [tmp_path / "1.png"]
    assert told == ["2 of the 3 images to calibrate with are listed and not there, such as 2.png: they are left out"]


def marked(count: int, height: int, width: int) -> Tensor:
    """Images that tell their number, rows and columns by channel."""
    rows, columns = torch.arange(height).view(-1, 1), torch.arange(width).view(1, -1)
    return torch.stack(
        [torch.stack((torch.full((height, width), i), rows + 0 * columns, columns + 0 * rows)) for i in range(count)]
    ).float()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_crops_are_squares_of_images_half_of_them_mirrored() -> None:
    crops = torch.cat(list(islice(random_crops(marked(5, 20, 30), 8, 5, seeded(0)), 60)))
    assert crops.shape == (300, 3, 8, 8)
    assert all(sorted(batch[:, 0, 0, 0].tolist()) == [0, 1, 2, 3, 4] for batch in crops.view(60, 5, 3, 8, 8))
    rows, columns = crops[:, 1], crops[:, 2]
    assert bool((rows.diff(dim=1) == 1).all()) and bool((rows.diff(dim=2) == 0).all())
    assert bool((columns.diff(dim=1) == 0).all()) and bool((columns.diff(dim=2).abs() == 1).all())
    assert 0.4 < float((columns[:, 0, 1] < columns[:, 0, 0]).float().mean()) < 0.6
    assert [int(each) for each in (rows.min(), rows.max(), columns.min(), columns.max())] == [0, 19, 0, 29]


@pytest.mark.parametrize("count", [3, 4, 9])
def test_every_image_has_as_even_a_share_of_the_crops_as_can_be(count: int) -> None:
    crops = next(random_crops(marked(4, 20, 20), 8, count, seeded(0)))
    shares = torch.bincount(crops[:, 0, 0, 0].int(), minlength=4)
    assert crops.shape == (count, 3, 8, 8) and int(shares.max() - shares.min()) <= 1


def test_the_same_seed_crops_the_same() -> None:
    first, same, other = (next(random_crops(marked(4, 20, 20), 8, 9, seeded(seed))) for seed in (1, 1, 2))
    assert torch.equal(first, same) and not torch.equal(first, other)


def test_a_crop_is_no_larger_than_the_image() -> None:
    assert next(random_crops(marked(2, 12, 16), 500, 3, seeded(0))).shape == (3, 3, 12, 12)
