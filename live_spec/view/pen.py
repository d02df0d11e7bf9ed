"""Lines of exact width from cells of text, and the finished screen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.text import Text

from live_spec.view.format import clean, fit, wrap
from live_spec.view.glyphs import ASCII, Glyphs, to_ascii
from live_spec.view.theme import Theme

Cell = str | tuple[str, str]
"""Text, or text with a Rich style."""


@dataclass(frozen=True, slots=True)
class Pen:
    """Draws lines of one width in one look. All text passes through here, so none carries control characters."""

    width: int
    glyphs: Glyphs
    theme: Theme

    def spell(self, text: str) -> str:
        """Text as it may stand on this screen."""
        return to_ascii(clean(text)) if self.glyphs is ASCII else clean(text)

    def row(self, *cells: Cell, style: str = "") -> Text:
        """One line, cut or padded to the width; ``style`` lies under the cells' own."""
        line = Text(style=style or self.theme.plain, no_wrap=True, overflow="crop", end="")
        for cell in cells:
            text, cell_style = cell if isinstance(cell, tuple) else (cell, "")
            line.append(self.spell(text), cell_style or None)
        if (length := cell_len(line.plain)) > self.width:
            line.truncate(self.width, overflow="crop")
        line.append(" " * (self.width - min(length, self.width)))
        return line

    def rule(self, title: str, right: str = "") -> Text:
        """``─ title ───────── right ─``; the right part goes when both do not fit."""
        start = f"{self.glyphs.rule} {title} "
        end = f" {right} {self.glyphs.rule}" if right else ""
        if cell_len(start + end) >= self.width:
            end = ""
        return self.row((start + self.glyphs.rule * (self.width - cell_len(start + end)) + end, self.theme.quiet))

    def parts(self, *parts: tuple[int, Cell], right: str = "", gap: str = "  ", style: str = "") -> Text:
        """A line of whole parts; those of the highest rank are left out until it fits, so no number is ever cut.

        ``right`` stands at the right edge and is never left out.
        """
        kept = [(rank, *(cell if isinstance(cell, tuple) else (cell, ""))) for rank, cell in parts]
        kept = [part for part in kept if part[1]]
        room = self.width - 1 - (cell_len(right) + len(gap) if right else 0)
        while kept and cell_len(gap.join(self.spell(text) for _, text, _ in kept)) > room:
            worst = max(rank for rank, _, _ in kept)
            kept.remove(next(part for part in reversed(kept) if part[0] == worst))
        cells: list[Cell] = [" "]
        for n, (_, text, part_style) in enumerate(kept):
            cells += [gap if n else "", (text, part_style)]
        if right:
            used = sum(cell_len(self.spell(cell if isinstance(cell, str) else cell[0])) for cell in cells)
            cells += [" " * (self.width - used - cell_len(right) - 1), right]
        return self.row(*cells, style=style)

    def paragraph(self, head: Cell, text: str, *, indent: int, most: int, style: str = "") -> list[Text]:
        """A captioned sentence, broken at words and aligned under its first word."""
        caption, caption_style = head if isinstance(head, tuple) else (head, "")
        lines = wrap(self.spell(text), self.width - indent, most=most, glyphs=self.glyphs)
        starts = [(fit(caption, indent), caption_style)] + [(" " * indent, "")] * (len(lines) - 1)
        return [self.row(start, line, style=style) for start, line in zip(starts, lines, strict=True)]

    def listing(self, head: str, parts: Iterable[str], *, indent: int, gap: str = "  ") -> list[Text]:
        """Captioned short parts on as many lines as they need; no part is broken."""
        lines = [""]
        for part in map(self.spell, parts):
            longer = f"{lines[-1]}{gap}{part}" if lines[-1] else part
            if cell_len(longer) <= self.width - indent - 1:
                lines[-1] = longer
            else:
                lines.append(part)
        return [self.row(fit("" if n else head, indent), line) for n, line in enumerate(lines)]

    def sentence(self, text: str, width: int) -> str:
        """A sentence on one line of ``width`` cells; words that do not fit are left out, with a mark."""
        return wrap(self.spell(text), width, most=1, glyphs=self.glyphs)[0]

    def beside(self, left: Iterable[Text], right: Iterable[Text]) -> list[Text]:
        """Two blocks of lines next to each other; the shorter one is filled with blanks."""
        lefts, rights = list(left), list(right)
        blank_left = Text(" " * (lefts[0].cell_len if lefts else 0))
        wall = Text(f"{self.glyphs.wall} ", style=self.theme.quiet)
        lines = []
        for n in range(max(len(lefts), len(rights))):
            line = self.row()
            line.truncate(0)
            line.append_text(lefts[n] if n < len(lefts) else blank_left).append_text(wall)
            line.append_text(rights[n] if n < len(rights) else Text())
            line.append(" " * max(0, self.width - line.cell_len))
            lines.append(line)
        return lines

    def narrow(self, width: int) -> Pen:
        """The same look at another width."""
        return Pen(width, self.glyphs, self.theme)


@dataclass(frozen=True, slots=True)
class Screen:
    """A finished screen: lines of equal width, and which fibres are on it."""

    lines: tuple[Text, ...]
    top: int = 0
    """Index of the first fibre row shown."""
    page: int = 0
    """How many fibre rows fit."""
    at: int = 0
    """Selected row, counted from ``top``."""
    n_rows: int = 0
    """How many fibre rows there are."""
    selected: int | None = None
    """The fibre of the selected row."""
    beside: tuple[int, ...] | None = None
    """The fibres before and after the open one."""
    command: str = ""
    """What a person would type to follow the advice on it."""

    @property
    def text(self) -> str:
        """The screen without colour; trailing blanks kept, one newline after each line."""
        return "".join(f"{line.plain}\n" for line in self.lines)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        for line in self.lines:
            whole = line.copy()
            whole.end = "\n"
            yield whole
