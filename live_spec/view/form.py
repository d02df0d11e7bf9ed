"""The form in which a person records a different decision: which, why, a line of text, until when, and who."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from rich.text import Text

from live_spec.events import OVERRIDE_ACTIONS, OVERRIDE_REASONS
from live_spec.view.pen import Pen
from live_spec.words import plural

FIELDS = ("action", "reason", "note", "until", "by")
LONGEST = 120
MEANS = {
    "hold": "no stop is advised for this field",
    "accept": "advise in spite of the doubts so far",
    "clear": "end a hold",
}


@dataclass(frozen=True, slots=True)
class Form:
    """What has been filled in."""

    visit: str
    exposure: int
    """Exposures that are taken already."""
    author: str
    said: str
    """What the advice says now, in words."""
    at: int = 0
    """Index into :data:`FIELDS`."""
    action: str = OVERRIDE_ACTIONS[0]
    reason: str = ""
    """Empty until one is chosen: a reason nobody chose is none."""
    note: str = ""
    until: str = ""
    """Last exposure for which it holds; empty for the whole visit."""
    confirming: bool = False
    wrong: str = ""

    @property
    def request(self) -> dict[str, Any]:
        """What is sent to the daemon."""
        return {
            "visit": self.visit,
            "author": self.author.strip(),
            "action": self.action,
            "reason": self.reason,
            "note": self.note.strip(),
            "expires_after": int(self.until) if self.until else None,
        }

    @property
    def sentence(self) -> str:
        """What will be recorded."""
        until = f" to exposure {self.until}" if self.until else ""
        note = f": {self.note.strip()!r}" if self.note.strip() else ""
        return f"{self.action}{until}, by {self.author.strip()}, reason {self.reason}{note}"


def type_into(form: Form, key: str) -> Form | None:
    """The form after a key; ``None`` when it is given up. Enter on a complete form confirms, a second enter records it:
    then :attr:`Form.confirming` was set before."""
    if key in ("esc", "ctrl-c"):
        return replace(form, confirming=False) if form.confirming else None
    if form.confirming:
        return form
    form, field = replace(form, wrong=""), FIELDS[form.at]
    if key == "enter":
        return _confirm(form)
    if key in ("down", "tab"):
        return replace(form, at=(form.at + 1) % len(FIELDS))
    if key == "up":
        return replace(form, at=(form.at - 1) % len(FIELDS))
    if field in ("action", "reason"):
        names = OVERRIDE_ACTIONS if field == "action" else OVERRIDE_REASONS
        name = _choose(names, form.action if field == "action" else form.reason, key)
        return replace(form, action=name) if field == "action" else replace(form, reason=name)
    letter = " " if key == "space" else key
    name = {"note": "note", "until": "until", "by": "author"}[field]
    text = str(getattr(form, name))
    if key == "backspace":
        text = text[:-1]
    elif len(letter) == 1 and letter.isprintable() and len(text) < LONGEST and (field != "until" or letter.isdigit()):
        text += letter
    return replace(form, **{name: text})  # type: ignore[arg-type]  # the three are texts


def _choose(names: tuple[str, ...], name: str, key: str) -> str:
    """The next or previous word, or the next one that begins with the letter."""
    at = names.index(name) if name in names else -1
    if key in ("right", "space"):
        return names[(at + 1) % len(names)]
    if key == "left":
        return names[(max(at, 0) - 1) % len(names)]
    turned = names[at + 1 :] + names[: at + 1]
    return next((other for other in turned if other.startswith(key)), name)


def _confirm(form: Form) -> Form:
    if not form.reason:
        return replace(form, at=FIELDS.index("reason"), wrong="choose a reason")
    if not form.author.strip():
        return replace(form, at=FIELDS.index("by"), wrong="give your name: observer accounts are shared")
    if form.until and int(form.until) < max(form.exposure, 1):
        at = FIELDS.index("until")
        return replace(form, at=at, wrong=f"exposure {form.until} is over: {form.exposure} are taken")
    return replace(form, confirming=True)


def draw(pen: Pen, form: Form, rows: int) -> list[Text]:
    """The form, what it will record, and the keys; the form goes first where there is no room for both."""
    said = form.said or "nothing yet"
    head = [
        pen.rule("override", f"visit {form.visit}"),
        pen.row(f"   the advice is {said}; {plural(form.exposure, 'exposure')} taken"),
    ]
    if form.confirming:
        end = pen.paragraph("   record", form.sentence, indent=11, most=3, style=pen.theme.stop)
        end.append(pen.row("   enter: write it into the journal   esc: back"))
        end.append(pen.row("   live-spec moves no telescope: that you do"))
    else:
        end = [pen.row((f"   {form.wrong}", pen.theme.warning))] if form.wrong else []
        end.append(pen.row("   up down: field   left right, first letter: choose"))
        end.append(pen.row("   enter: go on   esc: give up"))
    fields = _fields(pen, form)
    return [*head, *fields, *end] if len(head) + len(fields) + len(end) <= rows else [*head[:1], *fields, *end][-rows:]


def _fields(pen: Pen, form: Form) -> list[Text]:
    lines = []
    shown = {
        "action": f"{form.action:<8} {MEANS[form.action]}",
        "reason": form.reason or "--",
        "note": form.note,
        "until": f"exposure {form.until}" if form.until else "",
        "by": form.author,
    }
    hints = {"note": "one line of text", "until": "exposure number; empty: to the end of the visit", "by": "your name"}
    for n, name in enumerate(FIELDS):
        here = n == form.at and not form.confirming
        text = shown[name] + ("_" if here and name in hints else "")
        hint = f"   {hints[name]}" if name in hints else ""
        sign = pen.glyphs.go if here else " "
        room = pen.width - 14
        head = (f" {sign} {name:<8}", pen.theme.heading if here else "")
        lines.append(pen.row(head, text[-room:], (hint, pen.theme.quiet)))
        if here and name == "reason":
            lines += pen.listing("", OVERRIDE_REASONS, indent=11)
    return lines
