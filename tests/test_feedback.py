"""Feedback of rounding errors: does it do what it claims, does it help, and does it ever do harm?"""

from __future__ import annotations

import numpy as np
import pytest

from permfc.compression.classes import EMPTY, ClassFit, packed_features
from permfc.compression.covariance import best_ridge, feature_groups, shrunk_covariance, unexplained_share, upper_factor
from permfc.compression.feedback import compensated, descended, fed_back
from permfc.compression.overhead import Storage
from permfc.compression.quantiser import Quantiser


def correlated(samples: int, features: int, seed: int = 0, factors: int = 6) -> np.ndarray:
    """Activations that a few common factors explain for the most part."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(1).standard_normal((factors, features))
    return rng.standard_normal((samples, factors)) @ mix + 0.5 * rng.standard_normal((samples, features))


def output_error(columns: np.ndarray, wanted: np.ndarray, x: np.ndarray) -> float:
    return float((x @ (columns - wanted)).var(axis=0).sum())


def quantiser(x: np.ndarray, slope: float = 0.3, outputs: int = 96) -> Quantiser:
    rng = np.random.default_rng(2)
    fit = ClassFit(rng.standard_normal((outputs, x.shape[1])).astype(np.float32), x.var(axis=0), Storage(64, 16), 4)
    fit.improve(slope * float(x.var()), 3)
    return Quantiser(fit, np.zeros(outputs))


def rounded(made: Quantiser, weights: np.ndarray) -> np.ndarray:
    fit = made.fit
    return np.stack([made.integers(label, np.ascontiguousarray(column)) * made.unit
                     for label, column in zip(fit.assignment, weights.T, strict=True)])


def test_covariance_of_many_samples_is_the_covariance():
    x = correlated(20000, 12)
    np.testing.assert_allclose(shrunk_covariance(x), np.cov(x.T, bias=True), rtol=0.02, atol=0.05)


def test_covariance_of_independent_features_loses_its_chance_correlations():
    x = np.random.default_rng(0).standard_normal((40, 60))
    chance, found = np.cov(x.T, bias=True), shrunk_covariance(x)
    off = ~np.eye(60, dtype=bool)
    assert np.abs(found[off]).mean() < 0.2 * np.abs(chance[off]).mean()
    np.testing.assert_allclose(found.diagonal(), chance.diagonal(), rtol=0.01)


def test_fewer_samples_than_features_can_be_factorised():
    covariance = shrunk_covariance(correlated(8, 50))
    factor = upper_factor(covariance)
    np.testing.assert_allclose(factor @ factor.T, covariance, atol=1e-9 * covariance.max())
    assert not np.tril(factor, -1).any()


def test_features_that_never_vary_can_be_factorised():
    x = correlated(100, 20)
    x[:, 5:9] = 3.0
    assert np.isfinite(upper_factor(shrunk_covariance(x))).all()


def test_unexplained_share_knows_copies_from_independent_features():
    x = np.random.default_rng(0).standard_normal((20000, 10)) * np.linspace(3, 2, 10)
    x[:, 9] = 0.5 * x[:, 0]
    share = unexplained_share(x)
    assert share[0] < 0.1
    assert share[1:].min() > 0.9


def test_every_feature_is_in_one_group_and_the_strongest_first():
    x = correlated(50, 5000)
    groups = list(feature_groups(x))
    assert len(groups) == 2
    order = np.concatenate(groups)
    assert np.array_equal(np.sort(order), np.arange(5000))
    assert (np.diff(x.var(axis=0)[order]) <= 0).all()


def test_compensation_is_the_least_squares_answer():
    """With one column dropped and the others free, the best others follow from the normal equations."""
    x = correlated(4000, 8)
    covariance = np.cov(x.T, bias=True)
    columns = np.random.default_rng(3).standard_normal((8, 5)).astype(np.float32)
    moved = compensated(columns, covariance, lambda feature, column: 0 * column if feature == 0 else column)
    best = columns[1:] + np.linalg.solve(covariance[1:, 1:], covariance[1:, :1]) @ columns[:1]
    np.testing.assert_allclose(moved[1:], best, atol=1e-3)


def test_panels_change_nothing():
    x = correlated(3000, 300, factors=20)
    columns = np.random.default_rng(3).standard_normal((300, 7)).astype(np.float32)
    covariance = shrunk_covariance(x)

    def coarse(feature: int, column: np.ndarray) -> np.ndarray:
        return np.rint(column)

    moved = compensated(columns, covariance, coarse)
    inverse = np.linalg.inv(upper_factor(covariance))
    plain = columns.astype(np.float64)
    for feature in range(300):
        error = (plain[feature] - np.rint(plain[feature])) / inverse[feature, feature]
        plain[feature + 1:] -= np.outer(inverse[feature, feature + 1:], error)
    agree = np.isclose(moved, plain, atol=1e-2).mean()
    assert agree > 0.9  # a weight half-way between two integers may go either way, and others follow
    assert output_error(np.rint(moved), columns, x) < 0.5 * output_error(np.rint(columns), columns, x)


@pytest.mark.parametrize("features", [40, 300])
def test_no_column_alone_can_be_rounded_better_after_descent(features):
    """By brute force over integers next to each weight; and the error falls, also on samples that are new."""
    x, fresh = correlated(3000, features, factors=20), correlated(3000, features, factors=20, seed=9)
    columns = np.random.default_rng(3).standard_normal((features, 5)).astype(np.float32)
    covariance = shrunk_covariance(x)

    def coarse(feature: int, column: np.ndarray) -> np.ndarray:
        return np.rint(column)

    before = compensated(columns, covariance, coarse)
    after = np.rint(descended(columns, before, covariance, coarse))
    assert output_error(after, columns, fresh) < 0.9 * output_error(np.rint(before), columns, fresh)
    error = after - columns
    for change in (-1.0, 1.0):  # of the squared error, by one step of one weight
        gained = 2.0 * change * (covariance @ error) + covariance.diagonal()[:, None]
        assert (gained > -1e-3 * covariance.diagonal()[:, None]).mean() > 0.99


@pytest.mark.parametrize("slope", [0.01, 0.03, 0.1])
def test_feedback_lowers_the_error_on_new_samples(slope):
    x = np.clip(np.rint(8 * correlated(1000, 80)), -128, 127).astype(np.int8)
    fresh = 8 * correlated(1000, 80, seed=9)
    made = quantiser(x, slope)
    packed = packed_features(made.fit)
    moved = fed_back(made, x[:, packed])
    wanted = made.fit.weights.T
    assert output_error(rounded(made, moved), wanted, fresh) < 0.85 * output_error(rounded(made, made.fit.weights), wanted, fresh)


@pytest.mark.parametrize("samples", [1, 4, 5, 20])
def test_few_samples_do_no_harm(samples):
    x = np.clip(np.rint(30 * np.random.default_rng(0).standard_normal((samples, 80))), -128, 127).astype(np.int8)
    made = quantiser(30 * np.random.default_rng(5).standard_normal((500, 80)))
    moved = fed_back(made, x[:, packed_features(made.fit)])
    fresh = 30 * np.random.default_rng(6).standard_normal((2000, 80))
    wanted = made.fit.weights.T
    assert output_error(rounded(made, moved), wanted, fresh) < 1.05 * output_error(rounded(made, made.fit.weights), wanted, fresh)


@pytest.mark.parametrize("samples", [40, 120, 150])
def test_as_many_samples_as_features_are_no_worse_than_few(samples):
    """Beside a strong common factor, chance correlations of 120 features look real: trusting them costs a fifth of the gain."""
    def activations(count: int, seed: int) -> np.ndarray:
        return np.clip(np.rint(8 * correlated(count, 120, seed, factors=1)), -128, 127).astype(np.int8)

    fresh, made = activations(2000, 9).astype(np.float32), quantiser(activations(2000, 8).astype(np.float32), 0.03)
    wanted, packed = made.fit.weights.T, packed_features(made.fit)
    left = output_error(rounded(made, fed_back(made, activations(samples, 3)[:, packed])), wanted, fresh)
    assert left < 0.63 * output_error(rounded(made, made.fit.weights), wanted, fresh)


def test_the_ridge_follows_the_samples():
    few, many = correlated(60, 50, factors=3), correlated(4000, 50, factors=3)
    assert best_ridge(many) < best_ridge(few)
    assert best_ridge(many[:4]) is None


def test_too_few_samples_to_judge_leave_the_weights():
    made = quantiser(correlated(100, 40))
    assert fed_back(made, np.ones((4, 40), dtype=np.int8)) is made.fit.weights


def test_empty_features_are_made_up_for():
    x = correlated(1000, 60)
    x[:, 30:] = x[:, :30] * 0.9
    made = quantiser(10 * x)
    made.fit.assignment[30:] = EMPTY
    integers = np.clip(np.rint(10 * x), -128, 127).astype(np.int8)
    moved = fed_back(made, integers[:, packed_features(made.fit)])
    wanted = made.fit.weights.T
    assert output_error(rounded(made, moved), wanted, x) < 0.8 * output_error(rounded(made, made.fit.weights), wanted, x)
