import torch

from compressor.evaluation.network import inference_network
from compressor.evaluation.timing import PAIRS, time_in_turns
from compressor.report.intervals import slowdown
from tests.tiny import tiny_model


def test_both_are_timed_as_often_and_a_network_that_does_it_twice_is_slower() -> None:
    network = inference_network(tiny_model(), torch.device("cpu"))
    given = []

    def twice(images: torch.Tensor) -> torch.Tensor:
        given.append(images)
        network.predict(images)
        network.predict(images)
        return network.predict(images)

    slow = type(network)(network.names, network.strides, twice, network.device)
    timing = time_in_turns(network, slow, torch.rand(1, 3, 64, 64))
    assert (timing.image_size, len(timing.before_ms), len(timing.after_ms)) == (64, PAIRS, PAIRS)
    assert all(images.shape == (1, 3, 64, 64) for images in given)
    found = slowdown(timing)
    assert found is not None
    assert found[1].low > 1.3
