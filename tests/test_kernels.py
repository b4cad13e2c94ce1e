"""Kernels and banks against plain loops: every weight, inside and far outside."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle
from glimpse_cli.banks import Axis
from glimpse_cli.combs import Comb
from glimpse_cli.errors import ParameterError
from glimpse_cli.kernels import POST_EPS, REACH_FLOAT32, Gaussian, Hat, Nearest, default_width

PADDINGS = ["zeros", "border", "reflection"]
places = st.floats(-60, 90)
lengths = st.integers(1, 31)


def dense(kernel, place, N, reach=8.0):
    first, weights = kernel.taps(np.array([place]), N, reach)
    row = np.zeros(N)
    row[first[0] : first[0] + weights.shape[1]] = weights[0]
    return row


@given(place=places, N=lengths, s=st.floats(0.05, 40), eps=st.sampled_from([0, POST_EPS, 1e-3]))
def test_a_gaussian_row_is_the_formula(place, N, s, eps):
    np.testing.assert_allclose(dense(Gaussian(s, eps), place, N), oracle.gaussian_row(place, s, N, eps), atol=1e-12)


@given(place=places, N=lengths, s=st.floats(0.05, 40))
def test_the_reach_of_float32_loses_less_than_float32_can_see(place, N, s):
    cut = dense(Gaussian(s), place, N, REACH_FLOAT32)
    np.testing.assert_allclose(cut, oracle.gaussian_row(place, s, N, 0), atol=1e-6)


@pytest.mark.parametrize("padding", PADDINGS)
@given(place=places, N=lengths)
def test_a_hat_row_is_bilinear(padding, place, N):
    np.testing.assert_allclose(dense(Hat(padding), place, N), oracle.hat_row(place, N, padding), atol=3e-14)


@pytest.mark.parametrize("padding", PADDINGS)
@given(place=places.filter(lambda p: abs(p % 1 - 0.5) > 1e-9), N=lengths)
def test_a_nearest_row_is_one_pixel(padding, place, N):
    assert dense(Nearest(padding), place, N).tolist() == oracle.nearest_row(place, N, padding)


@pytest.mark.parametrize(("place", "pixel"), [(2.5, 3), (2.4999, 2), (-0.5, 0), (6.4999, 6)])
def test_nearest_rounds_halves_up(place, pixel):
    assert dense(Nearest(), place, 7).tolist() == [float(j == pixel) for j in range(7)]


@pytest.mark.parametrize("place", [-0.5001, 6.5])
def test_nearest_outside_reads_nothing(place):
    assert not dense(Nearest(), place, 7).any()


@pytest.mark.parametrize(
    "kernel", [Gaussian(1e-300), Gaussian(0.3), Gaussian(1e300), Gaussian(0.3, POST_EPS), Hat("border")]
)
@pytest.mark.parametrize("place", [-1e300, -1e6, 2.5, 3.0, 1e6, 1e300])
def test_weights_are_finite_and_at_most_one_in_sum_however_far_or_narrow(kernel, place):
    row = dense(kernel, place, 7)
    assert np.isfinite(row).all()
    assert 0 <= row.sum() <= 1 + 1e-12


@pytest.mark.parametrize(("place", "edge"), [(-1e6, 0), (1e6, 6)])
def test_without_eps_the_edge_is_repeated_for_ever_and_with_it_all_turns_black(place, edge):
    assert dense(Gaussian(0.7), place, 7)[edge] == 1
    assert dense(Gaussian(0.7, POST_EPS), place, 7).sum() == 0


@pytest.mark.parametrize(("s", "lost"), [(0.10, 0.0013), (0.08, 0.60), (0.06, 1.0)])
def test_the_posts_dark_rows_lose_what_was_measured(s, lost):
    assert 1 - dense(Gaussian(s, POST_EPS), 3.5, 9).sum() == pytest.approx(lost, rel=0.1)


def test_a_bank_reads_only_its_reach_and_adds_up_columns():
    bank = Axis(Comb(10.25, 1.5), Gaussian(0.5)).bank(5, 1000)
    assert bank.pixels.start >= 10 - 5
    assert bank.pixels.stop <= 17 + 6
    rows = [oracle.gaussian_row(10.25 + 1.5 * i, 0.5, 1000, 0) for i in range(5)]
    start, stop = bank.pixels.start, bank.pixels.stop
    np.testing.assert_allclose(bank.dense(), np.array(rows)[:, start:stop], atol=1e-13)
    np.testing.assert_allclose(bank.part(slice(1, 3)).dense().sum(axis=1), 1)
    np.testing.assert_allclose(bank.column_sums(1000), np.sum(rows, axis=0), atol=1e-13)


def test_nearest_rounds_before_it_mirrors():
    """A place in the middle of two pixels is the second of them, outside the picture too."""
    places = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 4.5]
    first, _ = Nearest("reflection").taps(np.array(places), 4)
    assert first.tolist() == [2, 1, 0, 1, 2, 3, 2, 1]


@pytest.mark.parametrize("place", [-0.3, -8191.3])
def test_a_mirrored_place_keeps_its_digits_on_a_long_axis(place):
    row = dense(Hat("reflection"), place, 8192)
    share = abs(place) - math.floor(abs(place))
    assert sorted(row)[-2:] == pytest.approx([share, 1 - share], abs=3e-14)


@pytest.mark.parametrize("kernel", [Gaussian(0.8), Hat("reflection"), Nearest()])
@pytest.mark.parametrize("size", [1, 5, 12, 99])
def test_the_blocks_of_a_bank_are_the_whole_of_it(kernel, size):
    bank = Axis(Comb(40.0, -3.7), kernel).bank(12, 31)
    matrix, put_together = bank.dense(), np.zeros((12, len(bank.pixels)))
    for rows, pixels, block in bank.blocks(size):
        put_together[rows, pixels] = block
    np.testing.assert_array_equal(put_together, matrix)
    side_by_side = np.zeros((36, 3 * len(bank.pixels)))
    for rows, pixels, block in bank.blocks(size, 3):
        side_by_side[rows, pixels] = block
    np.testing.assert_array_equal(side_by_side, np.kron(matrix, np.eye(3)))


@pytest.mark.parametrize("s", [0, -1, math.nan, math.inf])
def test_a_width_that_is_none_is_refused(s):
    with pytest.raises(ParameterError, match="s must be above 0 px"):
        Gaussian(s)


@pytest.mark.parametrize("eps", [-1e-8, math.nan, math.inf])
def test_an_eps_that_is_none_is_refused(eps):
    with pytest.raises(ParameterError, match="eps must be 0 or above"):
        Gaussian(0.7, eps)


def test_more_weights_than_memory_should_hold_are_refused():
    with pytest.raises(ParameterError, match=r"s = 9000 px is too wide: 20000 pixels for each of 7000 samples"):
        Gaussian(9000).taps(np.linspace(0, 20000, 7000), 20000)
    assert Gaussian(0.5).taps(np.linspace(0, 20000, 7000), 20000)[1].shape[1] < 12


def test_an_unknown_padding_is_refused_with_the_known_ones():
    for kernel in (Hat, Nearest):
        with pytest.raises(ParameterError, match="zeros, border, reflection"):
            kernel("mirror")


def test_the_default_width_follows_the_step_but_never_below_a_pixels():
    assert [default_width(d) for d in (-4, 0, 0.5, 2)] == pytest.approx([1.4, 0.35, 0.35, 0.7])
