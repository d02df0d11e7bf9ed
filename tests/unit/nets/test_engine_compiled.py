"""The compiled kernel against the network's own module, and life without it."""

from __future__ import annotations

import stat

import numpy as np
import pytest
from helpers.bundles import SMALL, bundle, spectra
from helpers.kernels import assert_same_posterior, needs_kernel

from live_spec.nets import engine_kernel
from live_spec.nets.bundle import Bundle, default_bundle_path
from live_spec.nets.engine import Engine
from live_spec.nets.engine_kernel import load_kernel


@pytest.mark.slow
def test_the_shipped_networks_posterior_does_not_move(variant):
    b = Bundle.load(default_bundle_path())
    flux, ivar = spectra(4)
    flux[0], ivar[2] = flux[0] * 1e-17, 0
    ivar[0] *= 1e34
    with Engine(b, threads=1, kernel=variant or "compiled") as fast, Engine(b, threads=1, kernel="plain") as plain:
        assert_same_posterior(fast.predict(flux, ivar), plain.predict(flux, ivar))
        assert fast.kernel == "compiled"
        made = fast._compiled.variant
        assert variant in (None, made)
        assert fast.identity.endswith(f"compiled {'bf16' if made == 'avx512-bf16' else f'f32 {made}'} cpu")


@pytest.mark.parametrize("passes", [4, 23])
@pytest.mark.parametrize(
    ("kind", "sizes"),
    [("censored", SMALL), ("censored", {"dense": (100, 20), "element": (17, 16), "wide": (40, 33)}),
     ("full", {"dense": (12, 6)}), ("full", {"dense": (113, 17)})],
)  # fmt: skip
def test_networks_of_any_size_and_any_number_of_passes(variant, kind, sizes, passes):
    b = bundle(kind, **sizes)
    flux, ivar = spectra(3)
    with Engine(b, passes, 1, kernel=variant or "compiled") as fast, Engine(b, passes, 1, kernel="shared") as exact:
        exactly = 3e-3 if fast._compiled.variant == "avx512-bf16" else 1e-4
        assert_same_posterior(fast.predict(flux, ivar), exact.predict(flux, ivar), within=exactly)


@needs_kernel
def test_the_first_passes_are_the_same_bits_however_many_follow():
    b = bundle()
    outputs = []
    for passes in (5, 9):
        with Engine(b, passes, 1, kernel="compiled") as engine:
            x = np.random.default_rng(0).normal(0, 0.1, (2, b.mean_spectrum_C.size)).astype(np.float32)
            outputs.append(engine._compiled.run(x, np.ones_like(x), engine._compiled.scratch())[0][:5])
    assert outputs[0].tobytes() == outputs[1].tobytes()


@needs_kernel
@pytest.mark.parametrize("flux_value", [1e18, 3e38, -3e38])
def test_absurd_input_gives_no_number_rather_than_a_wrong_one(flux_value):
    b = bundle()
    x = np.full((3, b.mean_spectrum_C.size), 0.1, np.float32)
    with Engine(b, 4, 1, kernel="compiled") as engine:
        passes, scratch = engine._compiled, engine._compiled.scratch()
        sound, _ = passes.run(x, np.ones_like(x), scratch)
        x[1, 500] = flux_value
        outputs, variance = passes.run(x, np.ones_like(x), scratch)
    assert np.isnan(outputs[:, 1]).all()
    assert np.isnan(variance[1]).all()
    assert outputs[:, [0, 2]].tobytes() == sound[:, [0, 2]].tobytes()


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    load_kernel.cache_clear()
    yield tmp_path / "live-spec"
    load_kernel.cache_clear()


@needs_kernel
@pytest.mark.slow
def test_the_kernel_is_compiled_once_and_kept_for_its_owner(fresh):
    load_kernel()
    (library,) = fresh.glob("*.so")
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o700
    made = library.stat().st_mtime_ns
    load_kernel.cache_clear()
    load_kernel()
    assert [p.stat().st_mtime_ns for p in fresh.iterdir()] == [made]


@needs_kernel
@pytest.mark.parametrize(
    ("variable", "value", "words"), [("PATH", "", "no C++ compiler"), ("CXX", "/bin/false", "could not")]
)
def test_without_a_compiler_the_engine_says_so_and_works(fresh, monkeypatch, variable, value, words):
    monkeypatch.setenv(variable, value)
    flux, ivar = spectra(1)
    b = bundle()
    with Engine(b, threads=1) as engine:
        assert engine.kernel == "shared"
        assert words in engine.notice
        assert engine.predict(flux, ivar).trusted_F.all()
    with pytest.raises(ValueError, match=words.replace("+", r"\+")):
        Engine(b, kernel="compiled")


def test_a_processor_without_the_instructions_is_named(fresh, monkeypatch):
    monkeypatch.setattr(engine_kernel, "_processor_flags", lambda: "flags : sse2 avx")
    with Engine(bundle(), threads=1) as engine:
        assert engine.kernel == "shared"
        assert "this processor has no AVX2" in engine.notice
    monkeypatch.setattr(engine_kernel, "_processor_flags", lambda: "flags : avx avx2 fma")
    load_kernel.cache_clear()
    with pytest.raises(ValueError, match="this processor cannot run the kernel for avx512-bf16"):
        Engine(bundle(), kernel="avx512-bf16")


@pytest.mark.parametrize(
    ("flags", "able"),
    [("avx2 fma", ["avx2"]), ("avx2 fma avx512f avx512bw", ["avx512", "avx2"]),
     ("avx2 fma avx512f avx512bw avx512_bf16", ["avx512-bf16", "avx512", "avx2"]),
     ("avx2 fma avx512f avx512bw avx512_bf16 amx_bf16", ["avx512", "avx2", "avx512-bf16"])],
)  # fmt: skip
def test_the_fastest_kernel_is_taken_first(flags: str, able: list[str]) -> None:
    assert engine_kernel.variants(set(flags.split())) == able
