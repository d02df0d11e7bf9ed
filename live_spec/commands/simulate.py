"""``live-spec simulate``: single model spectra, and a field with its night."""

from __future__ import annotations

import json
from pathlib import Path

import click

FIELD_SCHEMA = "live-spec.simulate-field/1"


@click.group()
def simulate() -> None:
    """Synthesize spectra to train and test with."""


@simulate.command()
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="A .npz file to write.")
@click.option("--teff", type=float, required=True, help="Effective temperature, K.")
@click.option("--logg", type=float, required=True, help="Surface gravity, dex.")
@click.option("--fe-h", type=float, default=0.0, show_default=True, help="[Fe/H]; all other elements follow it.")
@click.option("--label", "changes", multiple=True, metavar="NAME=DEX", help="Another abundance, e.g. mg_h=0.2.")
@click.option("--lsf", "lsf_fwhm_kms", type=float, default=13.3, show_default=True, help="FWHM of the profile, km/s.")
@click.option("--snr", type=click.FloatRange(min=0, min_open=True), help="Observe it at this S/N; else noise-free.")
@click.option("--n", "n_spectra", type=click.IntRange(1), default=1, show_default=True, help="Observations of it.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
def spectra(
    out: Path, teff: float, logg: float, fe_h: float, changes: tuple[str, ...], lsf_fwhm_kms: float, snr: float | None,
    n_spectra: int, seed: int,
) -> None:  # fmt: skip
    """Synthesize one star; the file holds flux, ivar and mask, each (n, 8575), and the labels."""
    import numpy as np

    from live_spec.labels import INDEX, LABELS
    from live_spec.synthesis.draw import FINEST_LSF_KMS
    from live_spec.synthesis.observe import Effects, observe
    from live_spec.synthesis.synthesizer import Synthesizer, solar_labels

    labels_L = solar_labels(teff, logg, fe_h)
    for change in changes:
        name, _, value = change.partition("=")
        if name not in INDEX:
            raise click.BadParameter(f"{name!r} is no label; labels are {', '.join(LABELS)}", param_hint="--label")
        try:
            labels_L[INDEX[name]] = float(value)
        except ValueError:
            raise click.BadParameter(f"{change!r} is not NAME=DEX, e.g. mg_h=0.2", param_hint="--label") from None
    effects = Effects(lsf_fwhm_kms=(lsf_fwhm_kms, lsf_fwhm_kms), model_error=0.0)
    try:
        flux_P = Synthesizer().spectrum(labels_L, lsf_fwhm_kms=FINEST_LSF_KMS if snr else lsf_fwhm_kms)
        flux_FP = np.tile(flux_P, (n_spectra, 1))
        if snr:
            flux_FP, ivar_FP, mask_FP = observe(flux_FP, np.full(n_spectra, snr), np.random.default_rng(seed), effects)
        else:
            ivar_FP, mask_FP = np.full_like(flux_FP, 1e6), np.zeros(flux_FP.shape, np.int32)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    np.savez_compressed(out, flux=flux_FP, ivar=ivar_FP, mask=mask_FP, labels=labels_L, label_names=np.array(LABELS))
    click.echo(f"{n_spectra} spectra in {out}", err=True)


@simulate.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for the files.")
@click.option("--fibres", "n_fibres", type=click.IntRange(1), default=300, show_default=True)
@click.option("--exposures", "n_exposures", type=click.IntRange(1), default=8, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
def field(out: Path, n_fibres: int, n_exposures: int, seed: int) -> None:
    """Simulate a field: an .npz per exposure (flux, ivar, mask, each (fibres, 8575)) and ``field.json``."""
    import numpy as np

    from live_spec.labels import LABELS
    from live_spec.synthesis.field import simulate_field

    out.mkdir(parents=True, exist_ok=True)
    simulated = simulate_field(seed, n_fibres, n_exposures)
    fibres = [
        {"fibre": f.fibre, "star": f.star, "role": f.role.value, "program": f.program, "h_mag": f.h_mag,
         "alive": bool(alive),
         "labels": None if np.isnan(row[0]) else dict(zip(LABELS, np.round(row, 4).tolist(), strict=True))}
        for f, alive, row in zip(simulated.fibres, simulated.alive_F, simulated.labels_FL, strict=True)
    ]  # fmt: skip
    conditions = [
        {"exposure": c.exposure, "dither": c.dither, "transparency": round(c.transparency, 3),
         "seeing_arcsec": round(c.seeing_arcsec, 2)}
        for c in simulated.conditions
    ]  # fmt: skip
    report = {"schema": FIELD_SCHEMA, "seed": seed, "fibres": fibres, "conditions": conditions}
    (out / "field.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for n in range(1, n_exposures + 1):
        flux_FP, ivar_FP, mask_FP = simulated.exposure(n)
        np.savez_compressed(out / f"exposure-{n:02d}.npz", flux=flux_FP, ivar=ivar_FP, mask=mask_FP)
        click.echo(f"exposure {n} of {n_exposures}", err=True)
