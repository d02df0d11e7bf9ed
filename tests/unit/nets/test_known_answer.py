"""The known answer finds a network that computes wrongly, and only such a one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from helpers.bundles import bundle

from live_spec.commands.model import model
from live_spec.nets import known_answer
from live_spec.nets.bundle import Bundle, BundleError, default_bundle_path
from live_spec.nets.engine import Engine
from live_spec.nets.known_answer import KnownAnswerError, read, wrong


@pytest.fixture(scope="module")
def whole(small_bundle: Path) -> Bundle:
    return Bundle.load(small_bundle)


@pytest.mark.slow
@pytest.mark.parametrize("passes", [2, 20, None, 300])
def test_the_one_that_ships_comes_out_whatever_the_number_of_passes_and_the_kernel(passes: int | None) -> None:
    path = default_bundle_path()
    shipped = Bundle.load(path)
    known = read(path, shipped)
    assert known.passes == shipped.card.masks.passes
    for kernel in (None, "shared"):
        with Engine(shipped, passes, threads=1, kernel=kernel) as engine:
            assert wrong(engine, known) is None, kernel


def test_row_gpu_wrong_flipped_bits_of_weights_are_found(whole: Bundle, small_bundle: Path) -> None:
    known, rng = read(small_bundle, whole), np.random.default_rng(3)
    for name in ("conv2.bias", "dense1.kernel", "dense2.kernel", "aux.kernel"):
        bits = whole.weights[name].copy().reshape(-1).view(np.uint16)
        at = rng.integers(len(bits), size=max(1, len(bits) // 4))
        bits[at] ^= np.uint16(1 << 13)  # in the exponent
        weight = bits.view(np.float16).reshape(whole.weights[name].shape)
        with Engine(replace(whole, weights={**whole.weights, name: weight}), threads=1, kernel="shared") as engine:
            assert "the network's known answer is wrong" in (wrong(engine, known) or ""), name


def test_a_guard_that_judges_otherwise_is_found(whole: Bundle, small_bundle: Path) -> None:
    known = read(small_bundle, whole)
    other = known.model_copy(update={"trusted": not known.trusted})
    with Engine(whole, threads=1, kernel="shared") as engine:
        assert "trusted is" in (wrong(engine, other) or "")


@pytest.mark.parametrize("what", ["missing", "torn", "of another bundle", "short"])
def test_one_that_cannot_be_used_is_said(whole: Bundle, small_bundle: Path, tmp_path: Path, what: str) -> None:
    values = json.loads((small_bundle / known_answer.FILE).read_text())
    values |= {"bundle": "0" * 12} if what == "of another bundle" else {}
    values["parts"]["value"] = values["parts"]["value"][: 3 if what == "short" else 22]
    if what != "missing":
        (tmp_path / known_answer.FILE).write_text(json.dumps(values)[: 50 if what == "torn" else None])
    words = {
        "missing": "has no known answer",
        "torn": "is no known answer",
        "of another bundle": "expected " + whole.id,
        "short": "22 labels each",
    }
    with pytest.raises(KnownAnswerError, match=words[what]):
        read(tmp_path, whole)


def test_model_verify_asks_for_it_and_model_known_answer_writes_it(tmp_path: Path) -> None:
    bundle(passes=4).save(tmp_path)
    with pytest.raises(BundleError, match="live-spec model known-answer"):
        CliRunner().invoke(model, ["verify", str(tmp_path)], catch_exceptions=False)
    assert "4 passes" in CliRunner().invoke(model, ["known-answer", str(tmp_path)]).output
    assert "its known answer comes out" in CliRunner().invoke(model, ["verify", str(tmp_path)]).output
