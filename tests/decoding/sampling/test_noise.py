import numpy as np
import torch
from scipy import stats

from adaptive_spec._arrays import IntArray
from adaptive_spec.decoding.sampling.noise import device_keys, gumbel
from adaptive_spec.randomness import key_uniform, keyed

CPU = torch.device("cpu")


def noise(seeds: IntArray, token_ids: torch.Tensor) -> torch.Tensor:
    return gumbel(device_keys(keyed(seeds), CPU), token_ids)


def test_noise_is_that_of_the_host_s_hash() -> None:
    keys = keyed(np.array([7, 8]))
    ours = gumbel(device_keys(keys, CPU), torch.tensor([0, 41]))
    gamma = np.uint64(0x9E3779B97F4A7C15)
    tail = key_uniform(keys[:, None] + gamma * np.array([1, 42], np.uint64))
    np.testing.assert_allclose(ours, -np.log(-np.log1p(-tail)), rtol=1e-5)


def test_a_token_has_the_same_noise_in_any_company() -> None:
    whole = noise(np.array([5, 6]), torch.arange(100))
    some = noise(np.array([6]), torch.tensor([[30, 3]]))
    assert torch.equal(some[0], whole[1, [30, 3]])


def test_noise_is_gumbel_over_tokens_and_over_keys() -> None:
    # Two Kolmogorov-Smirnov tests at 0.1 % each: a false alarm in 0.2 % of all choices of keys.
    over_tokens = noise(np.array([1]), torch.arange(20_000))[0]
    over_keys = noise(np.arange(20_000), torch.tensor([3]))[:, 0]
    for draw in (over_tokens, over_keys):
        assert draw.isfinite().all()
        assert stats.kstest(draw.numpy(), "gumbel_r").pvalue > 0.001


def test_the_largest_is_a_draw() -> None:
    p = np.array([0.5, 0.3, 0.15, 0.05])
    drawn = (noise(np.arange(20_000), torch.arange(4)) + torch.from_numpy(p).log()).argmax(-1)
    counts = np.bincount(drawn.numpy(), minlength=4)
    assert stats.chisquare(counts, p * 20_000).pvalue > 0.001
