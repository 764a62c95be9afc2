"""YOLOv5 in NumPy: layer tables, names and shapes of tensors, and the forward pass of one image in float64."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from trials.seeded import fill_array

Array = NDArray[np.float64]
Row = tuple[Any, ...]  # (from, repeats, module, channels, then kernel, stride and padding, or the shortcut)
Generation = Literal["v5", "v6"]

BN_EPS = 1e-3
ANCHORS: dict[bool, list[list[int]]] = {  # pixels, width and height of three anchors per level; of P6 networks or P5
    False: [[10, 13, 16, 30, 33, 23], [30, 61, 62, 45, 59, 119], [116, 90, 156, 198, 373, 326]],
    True: [
        [19, 27, 44, 40, 38, 94],
        [96, 68, 86, 152, 180, 137],
        [140, 301, 303, 264, 238, 542],
        [436, 615, 739, 380, 925, 792],
    ],
}


def table(generation: Generation, p6: bool) -> list[Row]:
    """The rows of a stock network; the last one is the head's, with the layers that it takes."""
    new = generation == "v6"
    stem: list[Row] = [
        (-1, 1, "Conv", 64, 6, 2, 2) if new else (-1, 1, "Focus", 64, 3),
        (-1, 1, "Conv", 128, 3, 2),
        (-1, 3, "C3", 128, True),
        (-1, 1, "Conv", 256, 3, 2),
        (-1, 6 if new else 9, "C3", 256, True),
        (-1, 1, "Conv", 512, 3, 2),
        (-1, 9, "C3", 512, True),
    ]
    deep: list[Row] = [(-1, 1, "Conv", 768, 3, 2), (-1, 3, "C3", 768, True)] if p6 else []
    deep.append((-1, 1, "Conv", 1024, 3, 2))
    if new:
        deep += [(-1, 3, "C3", 1024, True), (-1, 1, "SPPF", 1024, 5)]
    else:
        deep += [(-1, 1, "SPP", 1024, (3, 5, 7) if p6 else (5, 9, 13)), (-1, 3, "C3", 1024, False)]
    return [*stem, *deep, *(_head_p6() if p6 else _head_p5())]


def _up(channels: int, lateral: int, out: int) -> list[Row]:
    joined: list[Row] = [(-1, 1, "Conv", channels, 1, 1), (-1, 1, "Upsample"), ([-1, lateral], 1, "Concat")]
    return [*joined, (-1, 3, "C3", out, False)]


def _down(channels: int, lateral: int, out: int) -> list[Row]:
    return [(-1, 1, "Conv", channels, 3, 2), ([-1, lateral], 1, "Concat"), (-1, 3, "C3", out, False)]


def _head_p5() -> list[Row]:
    ways = [*_up(512, 6, 512), *_up(256, 4, 256), *_down(256, 14, 512), *_down(512, 10, 1024)]
    return [*ways, ([17, 20, 23], 1, "Detect")]


def _head_p6() -> list[Row]:
    up = [*_up(768, 8, 768), *_up(512, 6, 512), *_up(256, 4, 256)]
    down = [*_down(256, 20, 512), *_down(512, 16, 768), *_down(768, 12, 1024)]
    return [*up, *down, ([23, 26, 29, 32], 1, "Detect")]


def shapes(
    generation: Generation, p6: bool, depth: float, width: float, nc: int, fused: bool
) -> dict[str, tuple[int, ...]]:
    """Every tensor of a network's state dict with its shape."""
    found: dict[str, tuple[int, ...]] = {}
    outs: list[int] = []

    def conv(name: str, c1: int, c2: int, k: int) -> None:
        found[f"{name}.conv.weight"] = (c2, c1, k, k)
        if fused:
            found[f"{name}.conv.bias"] = (c2,)
        else:
            found.update({f"{name}.bn.{leaf}": (c2,) for leaf in ("weight", "bias", "running_mean", "running_var")})
            found[f"{name}.bn.num_batches_tracked"] = ()

    for i, (source, repeats, kind, *rest) in enumerate(table(generation, p6)):
        name = f"model.{i}"
        into = [outs[j] if outs else 3 for j in ([source] if isinstance(source, int) else source)]
        c1, c2 = sum(into), sum(into)
        if kind in ("Conv", "Focus", "C3", "SPP", "SPPF"):
            c2 = math.ceil(rest[0] * width / 8) * 8
        half = c2 // 2 if kind == "C3" else c1 // 2
        match kind:
            case "Conv":
                conv(name, c1, c2, rest[1])
            case "Focus":
                conv(f"{name}.conv", 4 * c1, c2, rest[1])
            case "C3":
                for part, ins, out in (("cv1", c1, half), ("cv2", c1, half), ("cv3", 2 * half, c2)):
                    conv(f"{name}.{part}", ins, out, 1)
                for j in range(max(round(repeats * depth), 1)):
                    conv(f"{name}.m.{j}.cv1", half, half, 1)
                    conv(f"{name}.m.{j}.cv2", half, half, 3)
            case "SPP" | "SPPF":
                conv(f"{name}.cv1", c1, half, 1)
                conv(f"{name}.cv2", 4 * half, c2, 1)
            case "Detect":
                found[f"{name}.anchors"] = (len(into), 3, 2)
                if generation == "v5":
                    found[f"{name}.anchor_grid"] = (len(into), 1, 3, 1, 1, 2)
                for level, c in enumerate(into):
                    found[f"{name}.m.{level}.weight"] = (3 * (nc + 5), c, 1, 1)
                    found[f"{name}.m.{level}.bias"] = (3 * (nc + 5),)
        outs.append(c2)
    return found


def seeded(
    generation: Generation, p6: bool, scale: tuple[float, float], nc: int, *, fused: bool = False
) -> dict[str, Array]:
    """A state dict by the filling rule, without anchors, of a network with the depth and width in `scale`."""
    names = shapes(generation, p6, *scale, nc, fused=False)
    filled = {key: fill_array(key, shape) for key, shape in names.items()}
    state = {key: value.astype(np.float64) for key, value in filled.items() if value is not None}
    return folded(state) if fused else state


def folded(state: Mapping[str, Array]) -> dict[str, Array]:
    """The same network with each BatchNorm folded into its convolution."""
    found = {key: value for key, value in state.items() if ".bn." not in key}
    for key in [key for key in state if key.endswith(".bn.weight")]:
        name = key.removesuffix(".bn.weight")
        scale = state[key] / np.sqrt(state[f"{name}.bn.running_var"] + BN_EPS)
        found[f"{name}.conv.weight"] = state[f"{name}.conv.weight"] * scale[:, None, None, None]
        found[f"{name}.conv.bias"] = state[f"{name}.bn.bias"] - state[f"{name}.bn.running_mean"] * scale
    return found


def convolve(x: Array, weight: Array, stride: int = 1, pad: int | None = None) -> Array:
    """Convolution without bias: (C, H, W) and (O, C, k, k) give (O, H', W')."""
    k = weight.shape[-1]
    pad = k // 2 if pad is None else pad
    windows = sliding_window_view(np.pad(x, ((0, 0), (pad, pad), (pad, pad))), (k, k), axis=(1, 2))
    result: Array = np.tensordot(weight, windows[:, ::stride, ::stride], axes=((1, 2, 3), (0, 3, 4)))
    return result


def pool(x: Array, k: int) -> Array:
    """The largest value in each k x k window, of (C, H, W), at stride 1."""
    padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)), constant_values=-np.inf)
    largest: Array = sliding_window_view(padded, (k, k), axis=(1, 2)).max(axis=(3, 4))
    return largest


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    result: Array = 1 / (1 + np.exp(-x))
    return result


class Network:
    """The forward pass of one image with the tensors of a state dict, fused or not."""

    def __init__(self, generation: Generation, p6: bool, state: Mapping[str, NDArray[Any]]) -> None:
        self.rows = table(generation, p6)
        self.state = {name: np.asarray(value, np.float64) for name, value in state.items()}

    def __call__(self, image: NDArray[Any]) -> list[Array]:
        """Raw outputs of each level, (anchor, row, column, 5 + classes), for an image (3, H, W)."""
        outs: list[Array] = []
        x = np.asarray(image, np.float64)
        for i, (source, _, kind, *rest) in enumerate(self.rows):
            name = f"model.{i}"
            if kind == "Detect":
                return [self._level(f"{name}.m.{level}", outs[j]) for level, j in enumerate(source)]
            if kind == "Concat":
                x = np.concatenate([outs[j] for j in source])
            elif kind == "Upsample":
                x = x.repeat(2, axis=1).repeat(2, axis=2)
            else:
                x = self._layer(name, kind, rest, x)
            outs.append(x)
        raise AssertionError("no head")

    def _layer(self, name: str, kind: str, rest: Sequence[Any], x: Array) -> Array:
        match kind:
            case "Conv":
                return self._block(name, x, *rest[2:])
            case "Focus":
                parts = [x[:, rows::2, columns::2] for columns in (0, 1) for rows in (0, 1)]
                return self._block(f"{name}.conv", np.concatenate(parts))
            case "C3":
                return self._c3(name, x, rest[1])
            case "SPP":
                y = self._block(f"{name}.cv1", x)
                return self._block(f"{name}.cv2", np.concatenate([y, *(pool(y, k) for k in rest[1])]))
            case _:
                pools = [self._block(f"{name}.cv1", x)]
                for _ in range(3):
                    pools.append(pool(pools[-1], rest[1]))
                return self._block(f"{name}.cv2", np.concatenate(pools))

    def _c3(self, name: str, x: Array, shortcut: bool) -> Array:
        y, repeat = self._block(f"{name}.cv1", x), 0
        while f"{name}.m.{repeat}.cv1.conv.weight" in self.state:
            change = self._block(f"{name}.m.{repeat}.cv2", self._block(f"{name}.m.{repeat}.cv1", y))
            y = y + change if shortcut else change
            repeat += 1
        return self._block(f"{name}.cv3", np.concatenate([y, self._block(f"{name}.cv2", x)]))

    def _block(self, name: str, x: Array, stride: int = 1, pad: int | None = None) -> Array:
        y = convolve(x, self.state[f"{name}.conv.weight"], stride, pad)
        if f"{name}.conv.bias" in self.state:
            y = y + self.state[f"{name}.conv.bias"][:, None, None]
        else:
            gain, shift, mean, variance = (
                self.state[f"{name}.bn.{leaf}"][:, None, None]
                for leaf in ("weight", "bias", "running_mean", "running_var")
            )
            y = (y - mean) / np.sqrt(variance + BN_EPS) * gain + shift
        return y * sigmoid(y)

    def _level(self, name: str, x: Array) -> Array:
        y = convolve(x, self.state[f"{name}.weight"]) + self.state[f"{name}.bias"][:, None, None]
        return y.reshape(3, -1, *y.shape[1:]).transpose(0, 2, 3, 1)


def decode(raw: Sequence[Array], p6: bool) -> Array:
    """Boxes as centre and size in pixels, objectness and class probabilities, (anchors and cells, 5 + classes)."""
    found = []
    for level, logits in enumerate(raw):
        stride, y = 8 * 2**level, sigmoid(logits)
        rows, columns = np.mgrid[: y.shape[1], : y.shape[2]]
        for anchor in range(3):
            width, height = ANCHORS[p6][level][2 * anchor : 2 * anchor + 2]
            z = y[anchor].copy()
            z[..., 0] = (2 * z[..., 0] - 0.5 + columns) * stride
            z[..., 1] = (2 * z[..., 1] - 0.5 + rows) * stride
            z[..., 2] = (2 * z[..., 2]) ** 2 * width
            z[..., 3] = (2 * z[..., 3]) ** 2 * height
            found.append(z.reshape(-1, z.shape[-1]))
    return np.concatenate(found)
