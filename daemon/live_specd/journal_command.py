"""``live-spec journal``: what is in a journal, whether it is whole, and what can be made of it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from live_specd.records import segments

LS_SCHEMA, VERIFY_SCHEMA = "live-spec.journal-ls/1", "live-spec.journal-verify/1"
FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))


@click.group()
def journal() -> None:
    """What is in the journal at FOLDER (the one that [io] record names); none of these but rebuild writes to it."""


@journal.command()
@FOLDER
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def ls(folder: Path, as_json: bool) -> None:
    """List the segments and the visits, with times and sizes; also while a daemon writes."""
    from live_specd.journal_contents import contents

    _need(folder)
    found = contents(folder)
    if as_json:
        click.echo(json.dumps({"schema": LS_SCHEMA, **found.document()}, sort_keys=True))
        return
    click.echo(f"{'segment':<18} {'records':>17} {'MB':>9}  from (UTC)           to")
    for segment in found.segments:
        records = f"{segment.first}-{segment.last}" if segment.last >= segment.first else "none"
        times = f"{segment.began_at}  {segment.ended_at}" if segment.began_at else ""
        click.echo(f"{segment.name:<18} {records:>17} {segment.n_bytes / 1e6:>9.1f}  {times}")
    click.echo(f"\n{'visit':<24} {'exposures':>9} {'MB':>9}  from (UTC)           to")
    for visit in found.visits:
        until = visit.ended_at or "open"
        click.echo(f"{visit.name:<24} {visit.n_exposures:>9} {visit.n_bytes / 1e6:>9.1f}  {visit.began_at}  {until}")


@journal.command()
@FOLDER
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def verify(folder: Path, as_json: bool) -> int:
    """Read every byte: checksums, numbers without holes, each message and each advice once, the table of advice.

    Exit 0 when everything is well, 1 when something is not, 5 when a newer version wrote it.
    """
    from live_specd.journal_contents import verified

    _need(folder)
    found = verified(folder)
    if as_json:
        click.echo(json.dumps({"schema": VERIFY_SCHEMA, **found._asdict()}, sort_keys=True))
    else:
        for sentence in (*found.wrong, *found.remarks):
            click.echo(sentence)
        verdict = f"{len(found.wrong)} things are wrong" if found.wrong else "whole"
        click.echo(f"{found.n_records} records, {found.n_bytes / 1e6:.1f} MB, {found.n_advice} advices: {verdict}")
    return 1 if found.wrong else 0


@journal.command()
@FOLDER
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True,
              help="A .parquet or .jsonl file.")  # fmt: skip
@click.option("--bodies", is_flag=True, help="With the spectra as they came (Parquet only).")
def export(folder: Path, out: Path, bodies: bool) -> None:
    """Write every record as a row: number, time, kind, stream, visit, exposure, and what it says as JSON."""
    from live_specd.journal_contents import rows, write_lines, write_parquet

    _need(folder)
    if out.suffix not in (".parquet", ".jsonl"):
        raise click.UsageError(f"--out {out}: expected a name that ends in .parquet or .jsonl")
    if bodies and out.suffix != ".parquet":
        raise click.UsageError("--bodies needs a .parquet file: spectra are bytes")
    draft = out.with_name(out.name + ".draft")
    write = write_parquet if out.suffix == ".parquet" else write_lines
    n = write(draft, rows(folder, bodies=bodies))
    draft.replace(out)
    click.echo(f"{n} records in {out}")


@journal.command()
@FOLDER
def rebuild(folder: Path) -> None:
    """Make the table of advice (decisions.sqlite) again from the journal; no daemon may run.

    The old table is kept as decisions.sqlite.before-N. What telescope control has dealt with is not in the journal:
    it is taken from the old table where that can be read. Else everything is sent again, and a bridge acts once for
    each id.
    """
    from live_specd.daemon import IN_USE, Refused
    from live_specd.decisions import TABLE
    from live_specd.journal import JournalInUse
    from live_specd.journal_contents import rebuilt

    _need(folder)
    try:
        n, kept = rebuilt(folder)
    except JournalInUse as error:
        raise Refused(error, IN_USE) from None
    click.echo(f"{n} advices in {folder / TABLE}" + (f"; the old table is {kept}" if kept else ""))


def _need(folder: Path) -> None:
    if not segments(folder):
        raise click.UsageError(f"{folder}: no journal in it; expected files such as 000000000001.log")
