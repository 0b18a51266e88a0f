import numpy as np
import pytest

from maya_data.permutation import key, permute


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 17, 1000])
def test_every_position_is_met_once(size):
    assert sorted(permute(np.arange(size), size, key(5, size))) == list(range(size))


def test_keys_choose_different_permutations():
    first, second = (permute(np.arange(500), 500, key(seed)) for seed in (1, 2))
    assert (first == second).mean() < 0.05
    assert abs(np.corrcoef(first, np.arange(500))[0, 1]) < 0.2


def test_elements_may_have_their_own_size_and_key():
    sizes, keys = np.array([7, 100, 7]), key(3, np.array([1, 2, 1]))
    together = permute(np.array([2, 50, 2]), sizes, keys)
    alone = [int(permute(2, 7, key(3, 1))[0]), int(permute(50, 100, key(3, 2))[0])]
    assert together.tolist() == [*alone, alone[0]]


def test_first_places_are_uniform():
    firsts = permute(np.zeros(2000), 10, key(np.arange(2000)))
    assert np.bincount(firsts, minlength=10).min() > 140
