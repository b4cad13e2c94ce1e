"""Combs against the formulas written out, and against themselves there and back."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glimpse_cli.combs import Box, Comb
from glimpse_cli.errors import ParameterError
from glimpse_cli.kernels import Gaussian

numbers = st.floats(-1e4, 1e4)
counts = st.integers(2, 5000)


@given(x0=numbers, extent=st.floats(1e-3, 1e4), n=st.integers(1, 500))
def test_a_box_comes_back_from_its_comb(x0, extent, n):
    back = Comb.from_box(x0, x0 + extent, n).box(n)
    assert back == pytest.approx((x0, x0 + extent), abs=1e-9)


@given(scale=st.floats(-20, 20), shift=st.floats(-20, 20), n=counts, N=counts)
def test_scale_and_shift_come_back_from_their_comb(scale, shift, n, N):
    assert Comb.from_scale_shift(scale, shift, n, N).scale_shift(n, N) == pytest.approx((scale, shift), abs=1e-9)


@given(first=numbers, step=st.floats(-100, 100), n=counts, N=counts)
def test_a_comb_comes_back_from_its_scale_and_shift(first, step, n, N):
    back = Comb.from_scale_shift(*Comb(first, step).scale_shift(n, N), n, N)
    assert back.first == pytest.approx(first, abs=1e-9 * max(1, abs(step) * n))
    assert back.step == pytest.approx(step, abs=1e-9)


def test_the_teeth_of_a_box_are_the_middles_of_its_cells():
    cells = [(3 + k * 1.5, 3 + (k + 1) * 1.5) for k in range(4)]  # [3, 9) in four
    middles = [(low + high) / 2 - 0.5 for low, high in cells]  # centre coordinates
    assert Comb.from_box(3, 9, 4).places(4).tolist() == pytest.approx(middles, abs=1e-12)


def test_minus_one_and_one_are_the_centres_of_the_first_and_the_last_pixel():
    assert Comb.from_scale_shift(1, 0, 7, 31).places(7).tolist() == pytest.approx([0, 5, 10, 15, 20, 25, 30])


def test_the_posts_own_numbers():
    assert Comb.from_scale_shift(0.4, -0.1, 5, 10).places(5).tolist() == pytest.approx([2.25, 3.15, 4.05, 4.95, 5.85])
    assert Comb.from_scale_shift(4 / 9, -1 / 9, 5, 10).places(5).tolist() == pytest.approx([2, 3, 4, 5, 6], abs=1e-14)
    assert Comb(2, 1).scale_shift(5, 10) == pytest.approx((4 / 9, -1 / 9))


def test_one_sample_of_a_transformer_sits_in_the_middle_and_has_no_scale():
    comb = Comb.from_scale_shift(0.7, 0.2, 1, 11)
    assert comb == Comb(5 * 1.2, 0.0)
    assert comb.scale_shift(1, 11) == pytest.approx((0, 0.2))


def test_on_an_axis_of_one_pixel_every_sample_is_pixel_zero_and_nothing_can_be_recovered():
    assert Comb.from_scale_shift(3, -2, 4, 1) == Comb(0, 0)
    with pytest.raises(ParameterError, match="one pixel"):
        Comb(0, 1).scale_shift(4, 1)


@pytest.mark.parametrize("step", [0, -0.5])
def test_a_comb_that_does_not_advance_has_no_box(step):
    with pytest.raises(ParameterError, match="only if"):
        Comb(3, step).box(5)


@pytest.mark.parametrize("x1", [5, 4.5])
def test_edges_that_do_not_advance_have_no_comb(x1):
    with pytest.raises(ParameterError, match=rf"got \[5\.0, {float(x1)}\)"):
        Comb.from_box(5, x1, 7)


def test_a_step_that_vanishes_beside_its_place_has_no_box():
    assert 1e9 + 7 * 1e-9 == 1e9  # the edges would be one number
    with pytest.raises(ParameterError, match="too small for a box"):
        Comb(1e9, 1e-9).box(7)


def test_places_are_exact_far_from_zero():
    assert Comb(99_999.25, 0.125).places(3).tolist() == [99_999.25, 99_999.375, 99_999.5]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused(bad):
    for make in (
        lambda: Comb(bad, 1),
        lambda: Comb(1, bad),
        lambda: Comb.from_scale_shift(bad, 0, 3, 5),
        lambda: Box(0, 1, 2, bad),
        lambda: Box(bad, 1, 2, 3),
    ):
        with pytest.raises(ParameterError, match="finite"):
            make()


@pytest.mark.parametrize("numbers", [(5, 1, 5, 4), (6, 1, 5, 4), (1, 4, 5, 4), (1, 4, 5, 2)])
def test_an_empty_or_inverted_box_is_refused_and_the_mirror_named(numbers):
    with pytest.raises(ParameterError, match="above") as caught:
        Box(*numbers)
    assert "-d" in caught.value.hint


@given(st.tuples(numbers, numbers, numbers, numbers), st.integers(1, 300))
def test_numbers_of_an_array_are_reckoned_with_in_float64(values, n):
    values = np.float32(values)
    x0, x1, y0, y1 = values + np.float32([0, 2e4, 0, 3e4])  # as they come out of a detector
    box, plain = Box(x0, y0, x1, y1), Box(float(x0), float(y0), float(x1), float(y1))
    assert Comb.from_box(box.x0, box.x1, n) == Comb.from_box(x0, x1, n) == Comb.from_box(plain.x0, plain.x1, n)
    scale, shift = values[:2] / 1000
    comb = Comb.from_scale_shift(scale, shift, n, np.uint8(200))
    assert comb == Comb.from_scale_shift(float(scale), float(shift), n, 200)
    assert type(comb.first) is type(comb.step) is float
    assert Comb(np.uint8(200), np.uint8(100)).box(5) == (150.5, 650.5)
    assert Gaussian(np.float32(0.7)).s == float(np.float32(0.7))
    assert type(Gaussian(np.float32(0.7)).s) is float


@pytest.mark.parametrize("n", [0, -3, 1.5, 2.5])
def test_a_count_is_a_whole_number_of_one_or_more(n):
    for make in (
        lambda: Comb.from_box(0, 9, n),
        lambda: Comb.from_scale_shift(1, 0, n, 9),
        lambda: Comb.from_scale_shift(1, 0, 9, n),
        lambda: Comb(0, 1).places(n),
    ):
        with pytest.raises(ParameterError, match="whole number"):
            make()


def test_a_refusal_is_also_a_value_error():
    with pytest.raises(ValueError, match="1 or more"):
        Comb.from_box(0, 1, 0)
