"""Counter-based numbers: reproducible, independent of company, and uniform."""

import numpy as np
from scipy import stats

from adaptive_spec.randomness import key_uniform, keyed, sequence_seed, uniform

SEED = np.array([7])


def test_a_key_gives_the_same_number_in_any_company() -> None:
    alone = uniform(SEED, np.array([5]), np.array([9]), 3)
    among = uniform(SEED, np.array([1, 5, 2]), np.array([0, 9, 9]), 3)
    assert np.array_equal(alone[0], among[1])


def test_every_part_of_the_key_matters() -> None:
    draws = [
        uniform(np.array([seed]), np.array([sequence]), np.array([cycle]), 2).tolist()
        for seed in (0, 1)
        for sequence in (0, 1)
        for cycle in (0, 1)
    ]
    assert len({tuple(d[0]) for d in draws}) == 8
    assert all(d[0][0] != d[0][1] for d in draws)


def test_numbers_are_uniform_over_each_part_of_the_key() -> None:
    # Four Kolmogorov-Smirnov tests at 0.1 % each: a false alarm in 0.4 % of all choices of keys.
    many, one = np.arange(20_000), np.zeros(20_000, np.int64)
    for draw in (
        uniform(SEED, many, one)[:, 0],
        uniform(SEED, one, many)[:, 0],
        uniform(many, one, one)[:, 0],
        uniform(SEED, one[:1], one[:1], 20_000)[0],
    ):
        assert stats.kstest(draw, "uniform").pvalue > 0.001
        assert abs(np.corrcoef(draw[:-1], draw[1:])[0, 1]) < 0.03
        assert 0 < draw.min() < draw.max() < 1


def test_keys_depend_on_every_part_and_its_place() -> None:
    seeds = np.array([0, 1])
    parts = [keyed(seeds), keyed(seeds, 0), keyed(seeds, 0, 1), keyed(seeds, 1, 0)]
    assert len(np.unique(np.concatenate(parts))) == 8
    assert keyed(seeds, np.array([3, 4]))[1] == keyed(np.array([1]), 4)[0]


def test_each_key_has_its_uniform_number() -> None:
    draw = key_uniform(keyed(SEED, np.arange(20_000)))
    assert stats.kstest(draw, "uniform").pvalue > 0.001  # false alarm: 0.1 %


def test_named_sequences_have_seeds_of_their_own() -> None:
    seeds = [sequence_seed(seed, name) for seed in (0, 1) for name in ("", "a", "b")]
    assert len(set(seeds)) == 6
    assert sequence_seed(1, "a") == 17548568729252930709
    assert all(0 <= seed < 1 << 64 for seed in seeds)
