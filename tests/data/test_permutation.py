import numpy as np
import pytest

from maya_data.planning.permutation import CHUNK, GOLDEN, MIX, ROUNDS, Permutations, hash64, key, permute


def _plainly(position, size, salt):
    """The same permutation in whole numbers of Python, one position at a time."""

    def mixed(value):
        value = (value + int(GOLDEN)) % 2**64
        value = (value ^ (value >> 30)) * int(MIX[0]) % 2**64
        value = (value ^ (value >> 27)) * int(MIX[1]) % 2**64
        return value ^ (value >> 31)

    half = 1
    while half * half < size:
        half += 1
    while True:
        left, right = divmod(position, half)
        for number in range(ROUNDS):
            left, right = right, (left + mixed((salt + right + (number << 48)) % 2**64)) % half
        position = left * half + right
        if position < size:
            return position


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 17, 1000])
def test_every_position_is_met_once(size):
    assert sorted(permute(np.arange(size), size, key(5, size))) == list(range(size))


@pytest.mark.parametrize("size", [1, 2, 7, 100, 12_345, 2**33 + 1])
def test_numbers_are_those_of_plain_arithmetic(size):
    positions = [position % size for position in (0, 1, 5, 999, 10**9 + 7, 2**33)]
    salt = key(4, size)
    assert permute(positions, size, salt).tolist() == [
        _plainly(position, size, int(salt)) for position in positions
    ]


def test_long_arrays_are_permuted_as_short_ones_are():
    size, salt = 3 * CHUNK + 5, key(9)
    together = permute(np.arange(size), size, salt)
    assert sorted(together) == list(range(size))
    for place in (0, CHUNK - 1, CHUNK, size - 1):
        assert together[place] == permute(place, size, salt)[0]


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


def test_tables_give_the_same_numbers():
    sizes = np.array([1, 2, 5, 64, 65, 1000, 3 * CHUNK])
    keys = key(8, np.arange(len(sizes)))
    which = np.repeat(np.arange(len(sizes)), sizes)
    positions = np.concatenate([np.arange(size) for size in sizes])
    expected = permute(positions, sizes[which], keys[which])
    assert (Permutations(sizes, keys)(which, positions) == expected).all()


def test_no_permutation_is_allowed():
    assert Permutations(np.zeros(0, np.int64), [])(np.zeros(0, np.int64), []).tolist() == []


def test_a_hash_keeps_its_shape():
    assert hash64(3).shape == ()
    assert hash64(np.arange(6).reshape(2, 3)).ravel().tolist() == hash64(np.arange(6)).tolist()
