"""From what arrived to what the core takes: checked, cleaned, at rest, on the apStar grid.

One pure function for every source: archive rows, a feed of native visit spectra, spectra already on the grid.
"""

# Shape legend: F fibres, Q pixels as they came, P pixels of the grid (8575).
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from live_spec.spectra.bitmasks import BAD_BITS, REJECT_BITS, has_any
from live_spec.spectra.grid import APSTAR, Grid
from live_spec.spectra.median import median_where
from live_spec.spectra.resample import Resampled, resample, shift_log_grid
from live_spec.spectra.snr import snr_per_pixel
from live_spec.spectra.velocity import TemplateBank, Velocity, prepare_templates, radial_velocity, velocity_stands

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Frame = Literal["rest", "barycentric", "observed"]

BAD_ERROR: Final = 1e10  # APOGEE's error of a pixel that must not be used
DILUTED_IVAR: Final = 1e-8  # of the fibre's median: a bad error that dither combination diluted to some 1e6
MAX_BAD_SHARE: Final = 0.30  # of the detector pixels; APOGEE's own BAD_PIXELS flag stands at 0.20
MIN_QUALITY: Final = 2.5  # correlation peak over the next one; in 1,000 spectra of pure noise it reached 2.1
RV_TOLERANCE_KMS: Final = 10.0  # M dwarfs differ by up to 5 from a bank that knows no water


class SpectraRejected(ValueError):
    """Arrays that cannot be spectra; the message says what was expected and what came."""


class Cleaned(NamedTuple):
    """Spectra without a value that could spoil a sum: where ivar is 0, flux is 0."""

    flux_FQ: Float32
    ivar_FQ: Float32
    pixel_flags_FQ: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class CleaningReport:
    """How many pixels of each fibre lost their information, by the first cause that applies; each (F,)."""

    n_not_finite_F: NDArray[np.intp]
    n_negative_ivar_F: NDArray[np.intp]
    n_bad_error_F: NDArray[np.intp]
    n_flagged_F: NDArray[np.intp]
    n_good_F: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class RestSpectra:
    """Rest-frame spectra on the apStar grid, flux in the unit it came in, not continuum-normalised."""

    flux_FP: Float32
    ivar_FP: Float32
    """0 means no information; flux is 0 there."""
    pixel_flags_FP: NDArray[np.int32]
    rv_kms_F: Float64
    """Barycentric radial velocity, NaN where unknown."""
    rv_source_F: tuple[str, ...]
    """``header``, ``measured`` or ``none``."""
    snr_F: Float64
    """Per pixel, on the detectors; NaN without a good pixel."""
    notes_F: tuple[tuple[str, ...], ...]
    """Why a fibre must not be trusted, a short sentence each; empty for a sound one."""


def sanitise(
    flux_FQ: NDArray[Any],
    ivar_FQ: NDArray[Any],
    pixel_flags_FQ: NDArray[Any],
    *,
    bad_bits: int = BAD_BITS | REJECT_BITS,
) -> tuple[Cleaned, CleaningReport]:
    """Take the information from every pixel that cannot be used, and count why.

    Args:
        flux_FQ: Flux, any unit.
        ivar_FQ: Inverse variance; negative, not finite or that of an error of 1e10 means none.
        pixel_flags_FQ: APOGEE_PIXMASK bits.
        bad_bits: Flags that cost a pixel its information.
    """
    with np.errstate(over="ignore"):  # what single precision cannot hold is no number either
        flux_FQ, ivar_FQ = (np.asarray(array).astype(np.float32, copy=False) for array in (flux_FQ, ivar_FQ))
    finite = np.isfinite(flux_FQ) & np.isfinite(ivar_FQ)
    ivar = np.where(finite, ivar_FQ, 0.0)
    negative = ivar < 0
    positive = ivar > 0
    floor = np.fmax(BAD_ERROR**-2, DILUTED_IVAR * median_where(ivar, positive)[:, None])
    bad_error = positive & (ivar <= floor)
    flagged = positive & ~bad_error & has_any(pixel_flags_FQ, bad_bits)
    good = positive & ~bad_error & ~flagged
    report = CleaningReport(*(mask.sum(axis=1) for mask in (~finite, negative, bad_error, flagged, good)))
    clean = Cleaned(
        np.where(good, flux_FQ, 0.0).astype(np.float32),
        np.where(good, ivar, 0.0).astype(np.float32),
        pixel_flags_FQ.astype(np.int32),
    )
    return clean, report


def to_rest_frame(
    flux_FQ: ArrayLike,
    ivar_FQ: ArrayLike,
    pixel_flags_FQ: ArrayLike | None = None,
    *,
    wavelength_aa: ArrayLike | None = None,
    frame: Frame = "rest",
    rv_kms_F: ArrayLike | None = None,
    barycentric_correction_kms: ArrayLike | None = None,
    templates: TemplateBank | ArrayLike | None = None,
    grid: Grid = APSTAR,
) -> RestSpectra:
    """Clean spectra, shift them to rest and bring them onto the grid.

    A velocity that is not given is measured with the templates. A given one is checked with them: where the spectrum
    clearly says otherwise, the fibre gets a note. A fibre without any velocity keeps no information.

    Args:
        flux_FQ: Flux, any unit.
        ivar_FQ: Inverse variance; 0 is no information.
        pixel_flags_FQ: APOGEE_PIXMASK bits; none by default.
        wavelength_aa: Vacuum wavelengths (Q,) or (F, Q); by default the pixels are those of the grid.
        frame: Of the wavelengths: ``rest``; ``barycentric``; or ``observed``, as the telescope saw them.
        rv_kms_F: Barycentric radial velocities, a number or (F,), NaN where unknown.
        barycentric_correction_kms: Barycentric minus observed velocity, a number or (F,), NaN where unknown.
        templates: Rest-frame templates (T, P) or a prepared bank; ``None``: nothing is measured or checked.
    Raises:
        SpectraRejected: When shapes, types or the frame are not as described.
    """
    flux, ivar, flags, wavelength = _check(flux_FQ, ivar_FQ, pixel_flags_FQ, wavelength_aa, frame, grid)
    n_fibres = len(flux)
    given_rv_F = _per_fibre("rv_kms_F", rv_kms_F, n_fibres)
    correction_F = _per_fibre("barycentric_correction_kms", barycentric_correction_kms, n_fibres)
    clean, report = sanitise(flux, ivar, flags)
    notes_F: list[list[str]] = [[] for _ in range(n_fibres)]
    for f in range(n_fibres):
        used = clean.flux_FQ[f, clean.ivar_FQ[f] > 0]
        if used.size == 0:
            notes_F[f].append("no pixel with information")
        elif used.min() == used.max():
            notes_F[f].append("no flux" if used[0] == 0 else "the flux is the same in every pixel")

    to_barycentre_F = {"observed": correction_F, "barycentric": np.zeros(n_fibres)}.get(frame)
    shift_F = np.zeros(n_fibres) if to_barycentre_F is None else given_rv_F - to_barycentre_F
    rv_F, source_F = given_rv_F.copy(), ["none" if np.isnan(v) else "header" for v in given_rv_F]
    sound_F = np.array([not notes for notes in notes_F], np.bool_)
    measured = _measure(clean, wavelength, templates, sound_F, shift_F, grid)
    for f in range(n_fibres):
        found, known = measured.quality_F[f] >= MIN_QUALITY, np.isfinite(shift_F[f])
        v, sigma = measured.rv_kms_F[f], measured.sigma_kms_F[f]
        if known and found and abs(v - shift_F[f]) > max(RV_TOLERANCE_KMS, 5 * sigma):
            what = "at rest" if to_barycentre_F is None else f"given as {shift_F[f]:+.1f} km/s"
            notes_F[f].append(f"velocity {what}, but the spectrum says {v:+.1f} km/s")
        elif not known and found and to_barycentre_F is not None:
            shift_F[f], rv_F[f], source_F[f] = v, v + to_barycentre_F[f], "measured"
        elif not known:
            rv_F[f], source_F[f] = np.nan, "none"
            notes_F[f].append(
                "no radial velocity: not given" + ("" if templates is None else " and none could be measured")
            )

    rest = _shift(clean, wavelength, np.where(np.isfinite(shift_F), shift_F, 0.0), grid)
    rest.ivar_FP[~np.isfinite(shift_F)] = 0.0
    rest.flux_FP[~np.isfinite(shift_F)] = 0.0
    on_detectors_FC = rest.ivar_FP[:, grid.cut]
    share_F = (on_detectors_FC == 0).mean(axis=1) if n_fibres else np.zeros(0)
    for k in np.flatnonzero((share_F > MAX_BAD_SHARE) & (report.n_good_F > 0) & np.isfinite(shift_F)):
        notes_F[k].append(f"too few good pixels: {share_F[k]:.0%} of the detectors hold no information")
    return RestSpectra(
        rest.flux_FP,
        rest.ivar_FP,
        rest.pixel_flags_FP,
        rv_F,
        tuple(source_F),
        snr_per_pixel(rest.flux_FP[:, grid.cut], on_detectors_FC),
        tuple(tuple(notes) for notes in notes_F),
    )


def _measure(
    clean: Cleaned,
    wavelength: Float64 | None,
    templates: TemplateBank | ArrayLike | None,
    sound_F: NDArray[np.bool_],
    known_kms_F: Float64,
    grid: Grid,
) -> Velocity:
    """Velocities in the frame of the wavelengths; quality NaN where nobody looked: at fibres that are not sound, and
    where no other velocity than the known one could be found."""
    n_fibres = len(clean.flux_FQ)
    unknown_F = np.full(n_fibres, np.nan)
    out = Velocity(unknown_F, unknown_F.copy(), unknown_F.copy(), np.full(n_fibres, -1, np.intp))
    if templates is None or not sound_F.any():
        return out
    bank = templates if isinstance(templates, TemplateBank) else prepare_templates(templates, grid=grid)
    sound = Cleaned(clean.flux_FQ[sound_F], clean.ivar_FQ[sound_F], clean.pixel_flags_FQ[sound_F])
    own = wavelength[sound_F] if wavelength is not None and wavelength.ndim == 2 else wavelength
    on_grid = _shift(sound, own, np.zeros(len(sound.flux_FQ)), grid)
    flux_FP, ivar_FP = on_grid.flux_FP, on_grid.ivar_FP
    open_F = ~velocity_stands(flux_FP, ivar_FP, known_kms_F[sound_F], bank, MIN_QUALITY)
    found = radial_velocity(flux_FP[open_F], ivar_FP[open_F], bank)
    at = np.flatnonzero(sound_F)[open_F]
    out.rv_kms_F[at], out.sigma_kms_F[at] = found.rv_kms_F, found.sigma_kms_F
    out.quality_F[at], out.template_F[at] = found.quality_F, found.template_F
    return out


def _shift(clean: Cleaned, wavelength: Float64 | None, velocity_kms_F: Float64, grid: Grid) -> Resampled:
    if wavelength is not None:
        return resample(*clean, wavelength, velocity_kms_F, grid=grid)
    if not velocity_kms_F.any():
        return Resampled(*clean)
    return shift_log_grid(*clean, velocity_kms_F, grid=grid)


def _check(
    flux_FQ: ArrayLike,
    ivar_FQ: ArrayLike,
    pixel_flags_FQ: ArrayLike | None,
    wavelength_aa: ArrayLike | None,
    frame: str,
    grid: Grid,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], Float64 | None]:
    """The inputs as arrays, or a sentence about the first that is wrong."""
    flux, ivar = np.asarray(flux_FQ), np.asarray(ivar_FQ)
    flags = np.zeros(flux.shape, np.int32) if pixel_flags_FQ is None else np.asarray(pixel_flags_FQ)
    for name, array, kinds in (("flux", flux, "fiu"), ("ivar", ivar, "fiu"), ("pixel flags", flags, "iu")):
        if array.ndim != 2 or array.shape != flux.shape:
            raise SpectraRejected(
                f"{name} must have the shape of flux, (fibres, pixels); flux {flux.shape}, {name} {array.shape}"
            )
        if array.dtype.kind not in kinds:
            raise SpectraRejected(f"{name} must be {'integers' if kinds == 'iu' else 'numbers'}, not {array.dtype}")
    if frame not in get_args(Frame):
        raise SpectraRejected(f"frame must be one of {', '.join(get_args(Frame))}, not {frame!r}")
    if wavelength_aa is None:
        if flux.shape[1] != grid.n_pixels:
            raise SpectraRejected(
                f"without wavelengths spectra must have the {grid.n_pixels} pixels of {grid.name}, not {flux.shape[1]}"
            )
        return flux, ivar, flags, None
    wavelength = np.asarray(wavelength_aa, np.float64)
    if wavelength.shape not in (flux.shape, flux.shape[1:]):
        raise SpectraRejected(f"wavelengths must have shape {flux.shape[1:]} or {flux.shape}, not {wavelength.shape}")
    return flux, ivar, flags, wavelength


def _per_fibre(name: str, value: ArrayLike | None, n_fibres: int) -> Float64:
    """A velocity per fibre, NaN where unknown."""
    array = np.asarray(np.nan if value is None else value, np.float64)
    if array.shape not in ((), (n_fibres,)):
        raise SpectraRejected(f"{name} must be one number or have shape ({n_fibres},), not {array.shape}")
    return np.broadcast_to(array, (n_fibres,)).copy()
