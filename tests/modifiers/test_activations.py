import numpy as np
import torch

from compressor.modifiers.activations import input_norms, on_device
from tests.modifiers.networks import CPU, hooks_left, inputs_and_outputs, live_model, pictures


def test_norms_are_the_root_mean_square_over_all_images_and_positions() -> None:
    model, images = live_model(), pictures(11)  # more than go through at a time, and no multiple of it
    found = input_norms(model, images, CPU)
    seen = inputs_and_outputs(model, images)
    assert found.keys() == seen.keys()
    for name, (inputs, _) in seen.items():
        square = inputs.numpy().astype(np.float64) ** 2
        np.testing.assert_allclose(found[name].numpy(), np.sqrt(square.mean(axis=(0, 2, 3))), rtol=1e-5, err_msg=name)
    assert hooks_left(model) == 0


def test_a_model_on_the_device_is_not_copied() -> None:
    model = live_model()
    assert on_device(model, CPU) is model
    assert on_device(model, torch.device("meta")) is not model
    assert next(model.parameters()).device == CPU
