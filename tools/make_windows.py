"""Write live_spec/data/windows_dr14.json from a table of window runs.

    python tools/make_windows.py element_windows_dr14.csv

The table has the columns element, first_pixel_8575 and last_pixel_8575 (inclusive); elements that are no label of ours
are left out.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

from live_spec.labels import ELEMENTS

OUT = Path(__file__).parents[1] / "live_spec" / "data" / "windows_dr14.json"
SOURCE = "ASPCAP DR14 element windows, every pixel of non-zero weight; García Pérez et al. 2016, AJ 151, 144"


def main(table: str) -> None:
    with open(table, newline="") as rows:
        runs = [
            (row["element"], int(row["first_pixel_8575"]), int(row["last_pixel_8575"]) + 1)
            for row in csv.DictReader(rows)
        ]
    elements = {
        label: [[first, stop] for element, first, stop in runs if element == species.replace(" ", "")]
        for label, species in ELEMENTS.items()
    }
    lines = [
        f"    {json.dumps(label)}: {json.dumps(spans, separators=(',', ':'))}" for label, spans in elements.items()
    ]
    head = {"id": "aspcap-dr14", "source": SOURCE, "grid": "apstar-8575"}
    text = json.dumps(head, ensure_ascii=False, indent=2)[:-2] + ',\n  "runs": {\n' + ",\n".join(lines) + "\n  }\n}\n"
    OUT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
