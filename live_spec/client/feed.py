"""The pipeline's end of the line: :class:`Feed` sends reduced spectra to the daemon and hands back its advice.

    with Feed("tcp://127.0.0.1:5749") as feed:
        visit = feed.design(48213, plan=6, fibres=table)
        feed.exposure(visit, n=1, dither="A", flux=flux, ivar=ivar, mask=mask, wave=wave)
        print(feed.advice(timeout=60).cause)

Every message is kept in a spool until a daemon has acknowledged that it is on its disk. PUB is the fast path; a ROUTER
on the port below answers requests for what a daemon missed, so a late, slow or restarted daemon loses nothing. When the
spool is full the calling thread waits (``block_s``), then gets :class:`FeedError`; nothing is dropped silently.
"""

# Shape legend: F fibres, P pixels as sent.
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from live_spec.client.line import Line, utc_now
from live_spec.events import Advice, Fibre
from live_spec.spectra.grid import APSTAR
from live_spec.wire.exposures import WholeExposure
from live_spec.wire.frames import Message, Spectra, spectra_to_body
from live_spec.wire.intake import FeedError, fibre_table, spectra
from live_spec.wire.messages import CHUNK_MAX, Bye, Design, Exposure, Heartbeat, VisitEnd

CHUNK_FIBRES = 300


class Feed:
    """A source of spectra: binds ``endpoint`` (PUB) and the port below it (ROUTER).

    Args:
        endpoint: Where daemons connect; ``tcp://127.0.0.1:*`` takes free ports.
        stream: ``site/instrument``.
        spool: A folder for what is not yet acknowledged; in memory without one.
        output: The daemon's PUB endpoint, by default the port above ``endpoint``.
        epoch: Incarnation of this source; by default milliseconds since 1970, or what the folder holds.
        spool_bytes: Size of the spool.
        block_s: How long a call waits for room in the spool.
        chunk_fibres: Largest number of fibres in one message.
        key: File with the feed's secret key (role ``source``): sockets are then encrypted and let in its daemons alone.
            Without it no endpoint may reach beyond this machine.
        line: What sends; a rehearsal may use one that sends in disorder.
    """

    def __init__(
        self,
        endpoint: str,
        stream: str = "apo/apogee-n",
        spool: Path | None = None,
        *,
        output: str | None = None,
        epoch: int | None = None,
        spool_bytes: int = 1 << 30,
        block_s: float = 30.0,
        chunk_fibres: int = CHUNK_FIBRES,
        key: Path | None = None,
        line: type[Line] = Line,
    ) -> None:
        self._chunk_fibres = chunk_fibres
        self._fibres: dict[str, NDArray[np.int32]] = {}
        self._visits: dict[str, str] = {}
        self._line = line(
            endpoint, stream, spool, output=output, epoch=epoch, spool_bytes=spool_bytes, block_s=block_s, key=key
        )
        self.endpoint = self._line.endpoint
        self.stream, self.epoch = stream, self._line.sender.epoch

    # -- what a pipeline calls -----------------------------------------------------------------------------------

    def design(
        self,
        design_id: str | int,
        *,
        plan: int,
        fibres: Iterable[Fibre | Mapping[str, Any]] | Mapping[str, ArrayLike],
        visit: str | None = None,
        field: str | None = None,
        telescope: str | None = None,
        exposure_s: float | None = None,
        observed_at: str | None = None,
    ) -> str:
        """Announce what the fibres are placed on; gives the name of the visit, for :meth:`exposure`.

        Args:
            design_id: Design, plate or configuration.
            plan: Exposures foreseen.
            fibres: Rows (:class:`~live_spec.events.Fibre` or mappings with its keys), or a table of columns. ``fibre``
                and ``star`` are needed; what is not known is left out, ``None`` or NaN.
            visit: A name that never comes again; by default the design and the minute it was announced.
            observed_at: Start, UTC, ``2026-11-22T10:00:00Z``.
        Raises:
            FeedError: When a value cannot be sent.
        """
        rows = fibre_table(fibres)
        name = visit or f"{design_id}-{(observed_at or utc_now())[:16].replace(':', '')}"
        values = {"visit": name, "design": str(design_id), "plan": plan, "field": field, "telescope": telescope}
        values |= {"exposure_s": exposure_s, "observed_at": observed_at, "fibres": rows}
        self._line.send(Design, values)
        self._fibres[name] = np.array([row.fibre for row in rows], np.int32)
        self._visits[str(design_id)] = name
        return name

    def exposure(
        self,
        visit: str | int,
        *,
        n: int,
        flux: ArrayLike,
        ivar: ArrayLike,
        mask: ArrayLike | None = None,
        wave: ArrayLike | None = None,
        frame: str | None = None,
        fibre: ArrayLike | None = None,
        rv_kms: ArrayLike | None = None,
        bc_kms: ArrayLike | float | None = None,
        dither: str | None = None,
        exptime_s: float | None = None,
        observed_at: str | None = None,
        tier: str = "apCframe",
        reader: str | None = None,
        seeing_arcsec: float | None = None,
        sky_relative: float | None = None,
    ) -> None:
        """Send the spectra of one exposure.

        Args:
            visit: What :meth:`design` gave, or the design.
            n: Number of the exposure, from 1.
            flux: Shape (F, P) or (F, chips, P), any unit, the same for all exposures of the visit.
            ivar: Inverse variance of ``flux``, same shape; 0 means no information.
            mask: Same shape: APOGEE_PIXMASK bits, or booleans that are True for a bad pixel.
            wave: Vacuum wavelength in ångström, shape (P,), (chips, P) or that of ``flux``; without it the spectra
                must be on the 8575-pixel apStar grid.
            frame: ``observed``, ``barycentric`` or ``rest``; by default ``observed`` with ``wave``, else ``rest``.
            fibre: Fibre of each row; by default the design's fibres in their order.
            rv_kms: Barycentric radial velocity per row, NaN where unknown.
            bc_kms: Barycentric correction, one number or one per row.
            dither: Dither position, ``A`` or ``B``.
            observed_at: End of the exposure, UTC.
            tier: Kind of product: apCframe, ap1D, apPlate, apVisit, apStar.
            reader: What read the files, with its version, when it was not this program: the advice names it.
            seeing_arcsec: Seeing, for the screens and the report; no verdict rests on it. ``None``, NaN, 0 or less, as
                headers have where nobody measured, and 99 or more are unknown.
            sky_relative: Brightness of the sky at 1.6 um over its nominal one; as with the seeing.
        Raises:
            FeedError: When shapes, values or units are not these, or the spool stays full.
        """
        name = self._visits.get(str(visit), str(visit))
        fibre = self._fibres.get(name) if fibre is None else fibre
        if fibre is None:
            raise FeedError(f"visit {name!r} has no design yet: call design() first, or give fibre=")
        one_bc = bc_kms if isinstance(bc_kms, (int, float)) else None
        arrays = spectra(fibre, flux, ivar, mask, wave, rv_kms, None if one_bc is not None else bc_kms)
        self._send_spectra(
            {
                "visit": name, "exposure": n, "dither": dither, "tier": tier, "exptime_s": exptime_s,
                "frame": frame or ("rest" if wave is None else "observed"), "observed_at": observed_at,
                "grid": APSTAR.name if wave is None else None, "bc_kms": one_bc, "reader": reader,
                "seeing_arcsec": seeing_arcsec, "sky_relative": sky_relative,
            },
            arrays,
        )  # fmt: skip

    def _send_spectra(self, common: dict[str, Any], arrays: Spectra) -> None:
        """Cut an exposure into messages."""
        n_fibres, n_pixels = arrays.flux_FP.shape
        row_bytes = sum(a[:1].nbytes for item in fields(Spectra) if (a := getattr(arrays, item.name)) is not None)
        rows = max(1, min(self._chunk_fibres, (CHUNK_MAX - 4096) // row_bytes))
        starts = range(0, n_fibres, rows)
        for number, start in enumerate(starts, 1):
            part = arrays.rows(slice(start, start + rows))
            values = {"chunk": number, "n_chunks": len(starts), "n_fibres": len(part.fibre_F), "n_pixels": n_pixels}
            self._line.send(Exposure, {**common, **values}, spectra_to_body(part))

    def visit_end(self, visit: str | int) -> None:
        """Say that the telescope left the field."""
        self._line.send(VisitEnd, {"visit": self._visits.get(str(visit), str(visit))})

    def forward(self, message: Message) -> None:
        """Pass on a message of another source under this one's numbers."""
        header = message.header
        assert not isinstance(header, Heartbeat | Bye), header.kind
        self._line.send(type(header), dict(header), message.body)

    def forward_exposure(self, whole: WholeExposure) -> None:
        """Pass on an exposure, cut as this feed cuts."""
        self._send_spectra(dict(whole.header), whole.spectra)

    def advice(self, timeout: float = 30.0) -> Advice:
        """The next advice that was not yet handed out; waits for it, ``timeout`` in seconds.

        Raises:
            TimeoutError: When none comes in time.
        """
        line = self._line
        line.wait(lambda: bool(line.advice), timeout, "no advice came")
        return line.advice.popleft()

    def wait_for_daemon(self, timeout: float = 30.0) -> None:
        """Wait until a daemon has reported, at most ``timeout`` seconds.

        Raises:
            TimeoutError: When none does in time.
        """
        self._line.wait(lambda: bool(self._line.sender.handled), timeout, f"no daemon connected to {self.endpoint}")

    def drain(self, timeout: float = 30.0, *, handled: bool = False) -> None:
        """Wait until all that was sent is on a daemon's disk or, with ``handled``, has been worked through.

        Raises:
            TimeoutError: When that takes longer.
        """
        self._line.drain(timeout, handled=handled)

    def close(self, timeout: float = 10.0) -> None:
        """Wait for the acknowledgements and let go of the sockets.

        Raises:
            FeedError: When messages that exist only in memory were not acknowledged in time.
        """
        self._line.close(timeout)

    def __enter__(self) -> Feed:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self.close(10.0 if kind is None else 0.0)
        except FeedError:
            if kind is None:  # else another exception is on its way, which must not be hidden
                raise
