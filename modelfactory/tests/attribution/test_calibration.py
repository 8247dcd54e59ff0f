from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelfactory.attribution import calibration
from modelfactory.attribution.calibration import (
    ONE,
    Calibration,
    CalibrationIdentity,
    Design,
    Weights,
    normalised,
    posterior,
    standardise,
    write_calibration,
)
from modelfactory.attribution.index import IndexDamagedError
from modelfactory.attribution.subsets import half_subsets, membership, pretended_membership

RECORDS, PHANTOMS, SUBSETS, SIGNALS = 40, 12, 16, 3
NAMES = [f"record-{at:02d}" for at in range(RECORDS)]
WEIGHTS = Weights(
    mean=(ONE // 3, ONE // 5, 0),
    spread=(ONE // 10, ONE // 50, ONE // 9),
    spread_of_all=ONE // 400,
    scale_spread=ONE // 30,
    noise=ONE // 8,
)
DESIGN = Design(
    membership(NAMES, half_subsets(NAMES, SUBSETS, seed=2)),
    pretended_membership(PHANTOMS, SUBSETS, seed=2),
)


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Normalised signals of records and phantoms, and log-probabilities that follow record 7."""
    rng = np.random.default_rng(seed)
    pairs = [
        normalised(rng.integers(-900, 9000, RECORDS), rng.integers(-900, 2000, PHANTOMS))
        for _ in range(SIGNALS)
    ]
    truth = (
        900_000 * DESIGN.records[:, 7].astype(int)
        + rng.integers(-200_000, 200_000, SUBSETS)
        - 5_000_000
    )
    return np.array([a for a, _ in pairs]), np.array([b for _, b in pairs]), truth.tolist()


def test_integers_agree_with_the_formula_in_floats():
    signals, phantoms, measured = drawn(1)
    found = posterior(signals, phantoms, DESIGN, WEIGHTS, measured)
    f, x = signals / ONE, DESIGN.records / 2
    mean = np.array(WEIGHTS.mean) / ONE @ f
    spread = WEIGHTS.spread_of_all / ONE + np.array(WEIGHTS.spread) / ONE @ f**2
    y = standardise(measured)
    covariance = np.diag(spread) + WEIGHTS.scale_spread / ONE * np.outer(mean, mean)
    gram = x @ covariance @ x.T + WEIGHTS.noise / ONE * np.eye(SUBSETS)
    expected = mean + covariance @ x.T @ np.linalg.solve(gram, y.standard - x @ mean)
    assert np.allclose(found.scores, expected * y.deviation_micro, atol=200)


def test_doubt_agrees_with_the_formula_and_blocks_change_nothing(monkeypatch):
    signals, phantoms, measured = drawn(1)
    found = posterior(signals, phantoms, DESIGN, WEIGHTS, measured)
    x = DESIGN.records / 2
    spread = WEIGHTS.spread_of_all / ONE + np.array(WEIGHTS.spread) / ONE @ (signals / ONE) ** 2
    gram = (x * spread) @ x.T + WEIGHTS.noise / ONE * np.eye(SUBSETS)
    left = spread - spread**2 * (x * np.linalg.solve(gram, x)).sum(axis=0)
    expected = np.sqrt(left) * standardise(measured).deviation_micro
    assert np.allclose(found.deviations(range(RECORDS)), expected, rtol=1e-3)
    monkeypatch.setattr(calibration, "COLUMNS_PER_BLOCK", 7)
    blocks = posterior(signals, phantoms, DESIGN, WEIGHTS, measured, found.duals)
    assert (blocks.scores == found.scores).all()
    assert blocks.deviations([0, 7]) == found.deviations([0, 7])


def test_what_retraining_shows_outweighs_what_signals_say():
    signals, phantoms, measured = drawn(1)
    assert posterior(signals, phantoms, DESIGN, WEIGHTS, measured).scores.argmax() == 7


def test_a_score_never_claims_more_than_the_change_that_was_measured():
    signals, phantoms, measured = drawn(3)
    found = posterior(signals, phantoms, DESIGN, WEIGHTS, measured)
    assert 0 < found.scores[7] < 1_800_000 * 1.2


def test_an_answer_that_no_retraining_changed_is_owed_to_nobody():
    signals, phantoms, _ = drawn(1)
    found = posterior(signals, phantoms, DESIGN, WEIGHTS, [-4_000_000] * SUBSETS)
    assert not found.scores.any()


def test_duals_are_taken_as_stored_and_checked():
    signals, phantoms, measured = drawn(1)
    found = posterior(signals, phantoms, DESIGN, WEIGHTS, measured)
    nearly = [found.duals[0] + 3, *found.duals[1:]]
    assert posterior(signals, phantoms, DESIGN, WEIGHTS, measured, nearly).duals == tuple(nearly)
    for wrong in ([found.duals[0] + 1000, *found.duals[1:]], found.duals[1:]):
        with pytest.raises(ValueError, match="do not follow"):
            posterior(signals, phantoms, DESIGN, WEIGHTS, measured, wrong)


def test_more_retraining_leaves_less_doubt():
    signals, phantoms, measured = drawn(1)
    everything = posterior(signals, phantoms, DESIGN, WEIGHTS, measured).deviations([0, 7])
    half = Design(DESIGN.records[:8], DESIGN.phantoms[:8])
    y = standardise(measured[:8]).deviation_micro / standardise(measured).deviation_micro
    fewer = posterior(signals, phantoms, half, WEIGHTS, measured[:8]).deviations([0, 7])
    assert all(a <= b / y for a, b in zip(everything, fewer, strict=True))


@example([1, 1], [])
@given(
    st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=50),
    st.lists(st.integers(-(2**40), 2**40), max_size=5),
)
def test_a_normalised_signal_has_length_two_and_never_overflows(records, phantoms):
    own, other = normalised(np.array(records), np.array(phantoms, dtype=np.int64))
    length = np.sqrt((own.astype(object) ** 2).sum())
    # Its length is divided by as a whole number: of a signal of a few units, in 2^-20 of a cosine,
    # nothing can be said anyway.
    given_length = math.sqrt(sum(one * one for one in records))
    rounding = 1 / max(1.0, given_length - 1)
    assert length == pytest.approx(2 * ONE, rel=0.01 + rounding, abs=1) or not own.any()
    assert len(other) == len(phantoms)


@pytest.fixture
def folder(tmp_path):
    write_calibration(
        tmp_path / "calibration",
        identity=CalibrationIdentity("a" * 64, "i" * 64, ("one", "two", "three"), ("s" * 64,) * 16),
        weights=WEIGHTS,
        gate_per_mille=1200,
        design=DESIGN,
        record_ids=[f"record-{at}" for at in range(DESIGN.records.shape[1])],
        fidelity={"pays": True},
    )
    return tmp_path / "calibration"


def test_a_calibration_reads_back_as_it_was_written(folder):
    found = Calibration(folder)
    assert (found.weights, found.gate_per_mille) == (WEIGHTS, 1200)
    assert (found.design.records == DESIGN.records).all()
    assert found.identity.signals == ("one", "two", "three")


@pytest.mark.parametrize("name", ["manifest.json", "records.npy"])
def test_a_damaged_calibration_is_found(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1] + b"\x05")
    with pytest.raises(IndexDamagedError):
        Calibration(folder)


def test_weights_are_plain_json(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["weights"]["noise"] == ONE // 8
    assert replace(WEIGHTS, noise=1) != WEIGHTS
