"""The ten parts of a night's report as one plain document; HTML, Markdown and JSON all come from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from live_spec import __version__
from live_spec.core.alarms import Change
from live_spec.events import Advice, TargetState, Verdict
from live_spec.labels import LABELS, symbol, unit
from live_spec.view.format import plural
from live_specd.earlier import figures, history
from live_specd.night import Night, VisitRecord, final_sigmas, utc

SCHEMA = "live-spec.report/1"
MAX_TODO = 5
OFTEN_MISSING = 2
"""Visits of a night without data from which on a fibre is somebody's business."""


def facts(
    night: Night,
    name: str | None = None,
    rules: dict[str, Any] | None = None,
    before: Iterable[Night] = (),
) -> dict[str, Any]:
    """Everything the report says, as JSON values. What the journal does not hold is ``None``.

    Args:
        name: The night as people call it; by default its date.
        rules: What the configured rules would have said of it, see :func:`live_specd.report.rules_on`.
        before: Earlier nights, whose medians and coverage stand beside this night's.
    """
    visits = [_visit(visit) for visit in night.visits.values()]
    return {
        "schema": SCHEMA,
        "night": name or (utc(night.first_ns).strftime("%Y-%m-%d") if night.first_ns is not None else None),
        "folder": night.folder.name,
        "headline": _headline(night, visits),
        "strip": _strip(night),
        "marks": [
            {"at": at_ns / 1e9, "level": change.level, "text": _words(change)}
            for at_ns, change in night.alarms
            if change.what == "raised"
        ],
        "visits": visits,
        "forecast": _forecast(night),
        "elements": _elements(night),
        "own": _figures(night),
        "history": history([_figures(one) for one in before]),
        "policies": _policies(night),
        "rules": rules,
        "health": _health(night),
        "audit": _audit(night),
        "todo": _todo(night, visits),
        "appendix": _appendix(night),
    }


def _visit(visit: VisitRecord) -> dict[str, Any]:
    final, stop = visit.final, visit.first_stop
    beyond = None if stop is None else visit.taken - stop.exposure
    # What was expected of the exposure at which the visit ended, said one stop point before.
    told = next(
        (
            (choice, a.exposure)
            for _, a in reversed(visit.advice)
            if a.exposure < visit.taken
            for choice in a.choices
            if choice.stop_after == visit.taken
        ),
        None,
    )
    return {
        "visit": visit.name,
        "field": visit.field,
        "design": visit.design,
        "began": utc(visit.began_ns).isoformat(timespec="seconds"),
        "planned": visit.plan,
        "taken": visit.taken,
        "advised": stop.exposure if stop else final.stop_after if final else None,
        "exposure_s": visit.exposure_s,
        "snr2": next((e.snr2 for e in reversed(visit.exposures.values()) if e.snr2 is not None), None),
        "verdict": final.verdict.value if final else None,
        "at_goal": final.have if final else None,
        "need": final.need if final else None,
        "forecast": told[0].share if told else None,
        "forecast_lo": told[0].share_lo if told else None,
        "forecast_hi": told[0].share_hi if told else None,
        "forecast_after": told[1] if told else None,
        "limiting": symbol(final.limiting) if final and final.limiting else None,
        "cause": final.cause if final else "no advice was given",
        "mode": final.mode if final else None,
        "override": next((a.override for _, a in reversed(visit.advice) if a.override), None),
        "beyond_stop": beyond,
        "saved": visit.plan - visit.taken if visit.ended_ns is not None else None,
        "states": dict(final.states) if final else {},
        "n_counting": final.n_counting if final else 0,
        "ended": visit.ended_ns is not None,
    }


def _headline(night: Night, visits: list[dict[str, Any]]) -> dict[str, Any]:
    exposures = [e for v in night.visits.values() for e in v.exposures.values()]
    timed = [e.exptime_s for e in exposures if e.exptime_s]
    stops = [v for v in visits if v["beyond_stop"] is not None and v["ended"]]
    saved = [v["saved"] * v["exposure_s"] / 60 for v in visits if v["saved"] is not None and v["exposure_s"]]
    silent = Counter(a.cause for _, a in night.all_advice if a.verdict is Verdict.NO_ADVICE)
    return {
        "visits": len(visits),
        "exposures": len(exposures),
        "spectra": sum(e.n_fibres for e in exposures),
        "open_shutter_h": sum(timed) / 3600 if timed else None,
        "at_goal": sum(v["states"].get(TargetState.AT_GOAL.value, 0) for v in visits),
        "targets": sum(sum(v["states"].values()) for v in visits),
        "minutes_saved": sum(saved) if saved else None,
        "stops_advised": len(stops),
        "stops_followed": sum(v["beyond_stop"] == 0 for v in stops),
        "advice": len(night.all_advice),
        "no_advice": sum(silent.values()),
        "no_advice_causes": dict(silent.most_common(3)),
    }


def _strip(night: Night) -> list[dict[str, Any]]:
    """Exposures by time with the verdict after each, for the picture."""
    points = []
    for visit in night.visits.values():
        before = 0.0
        for exposure in sorted(visit.exposures.values(), key=lambda e: e.number):
            said = [a for _, a in visit.advice if a.exposure == exposure.number]
            gained = None if exposure.snr2 is None else exposure.snr2 - before
            before = exposure.snr2 or before
            points.append(
                {
                    "at": exposure.at_ns / 1e9,
                    "visit": visit.name,
                    "exposure": exposure.number,
                    "exptime_s": exposure.exptime_s,
                    "verdict": said[-1].verdict.value if said else None,
                    "snr2_gained": gained,
                    "held": bool(said and said[-1].override),
                }
            )
    return points


def _forecast(night: Night) -> dict[str, Any]:
    """Every forecast of a stop point that was reached, against what was found there."""
    pairs, chances = [], []
    for visit in night.visits.values():
        need = visit.final.need if visit.final else None
        found = {a.exposure: a.have for _, a in visit.advice if a.have is not None}
        last = {a.exposure: a for _, a in visit.advice}
        for exposure, advice in last.items():
            for choice in advice.choices:
                if choice.stop_after > exposure and choice.stop_after in found:
                    pairs.append((choice.share, choice.share_lo, choice.share_hi, found[choice.stop_after]))
                    if need is not None:
                        chances.append([choice.p_met, float(found[choice.stop_after] >= need)])
    intervals = [[lo, hi, came] for _, lo, hi, came in pairs]
    if not pairs:
        return {"n": 0, "coverage": None, "bias": None, "pairs": [], "intervals": [], "chances": []}
    return {
        "n": len(pairs),
        "coverage": sum(lo <= came <= hi for _, lo, hi, came in pairs) / len(pairs),
        "bias": float(np.mean([came - share for share, _, _, came in pairs])),
        "intervals": intervals,
        "chances": chances,
        "pairs": [[round(share, 4), round(came, 4)] for share, _, _, came in pairs],
    }


def _figures(night: Night) -> dict[str, Any]:
    headline = _headline(night, [_visit(visit) for visit in night.visits.values()])
    return figures(night, headline, _health(night), _forecast(night))


def _elements(night: Night) -> list[dict[str, Any]]:
    """Uncertainties reached by the trusted stars, and how often each label was the limiting one."""
    sigma_FL = final_sigmas(night)
    limiting = Counter(a.limiting for v in night.visits.values() if (a := v.final) is not None and a.limiting)
    rows = []
    for column, label in enumerate(LABELS):
        values = sigma_FL[:, column] if sigma_FL.size else np.empty(0)
        values = values[np.isfinite(values)]
        if not values.size:
            continue
        low, middle, high = (float(q) for q in np.quantile(values, (0.16, 0.5, 0.84)))
        rows.append(
            {"label": label, "symbol": symbol(label), "unit": unit(label), "n": int(values.size), "median": middle,
             "p16": low, "p84": high, "limited": limiting.get(label, 0)}
        )  # fmt: skip
    return rows


def _policies(night: Night) -> list[dict[str, Any]]:
    """The night as it was, as planned, and had every first stop been followed."""
    visits = [v for v in night.visits.values() if v.ended_ns is not None]
    if not visits:
        return []

    def row(name: str, stops: list[int]) -> dict[str, Any]:
        seconds = [n * v.exposure_s for n, v in zip(stops, visits, strict=True) if v.exposure_s]
        shares = []
        for n, visit in zip(stops, visits, strict=True):
            known = [a.have for _, a in visit.advice if a.exposure == min(n, visit.taken) and a.have is not None]
            shares.append(known[-1] if known and n <= visit.taken else None)
        known_shares = [share for share in shares if share is not None]
        return {
            "policy": name,
            "exposures": sum(stops),
            "open_shutter_h": sum(seconds) / 3600 if seconds else None,
            "at_goal": float(np.mean(known_shares)) if len(known_shares) == len(visits) else None,
        }

    taken = [v.taken for v in visits]
    advised = [stop.exposure if (stop := v.first_stop) else v.taken for v in visits]
    return [row("as observed", taken), row("as advised", advised), row("as planned", [v.plan for v in visits])]


def _health(night: Night) -> dict[str, Any]:
    latency_s = [s for v in night.visits.values() for s in v.latency_s()]
    answers = [v.last for v in night.visits.values() if v.last is not None]
    reasons = Counter(why.partition(":")[0] for answer in answers for why in answer.posterior.why_F if why)
    n_stars = sum(len(answer.posterior) for answer in answers)
    missing: Counter[int] = Counter()
    for visit in night.visits.values():
        missing.update(fibre for fibre, times in visit.missing.items() if times)
    return {
        "untrusted_share": sum(int((~a.posterior.trusted_F).sum()) for a in answers) / n_stars if n_stars else None,
        "untrusted_why": dict(reasons.most_common(5)),
        "missing_fibres": {str(fibre): n for fibre, n in sorted(missing.items())},
        "latency_s": [float(q) for q in np.quantile(latency_s, (0.5, 0.9, 0.99))] if latency_s else None,
        "n_latency": len(latency_s),
        "sources": len({stream for stream, _ in night.epochs}),
        "source_restarts": len(night.epochs) - len({stream for stream, _ in night.epochs}),
        "daemon_starts": len(night.starts),
        "degraded": len([a for _, a in night.all_advice if a.degraded]),
        "bundles": sorted({a.bundle for _, a in night.all_advice if a.bundle}),
        "configs": sorted({a.config for _, a in night.all_advice}),
        "records": night.n_records,
        "damage": list(night.damage),
    }


def _audit(night: Night) -> list[dict[str, str]]:
    """Starts, promotions, overrides, lost input and failures, in the order in which they happened."""
    events = [(at_ns, "input-bad", text) for at_ns, text in night.gaps]
    events += [(at_ns, "promotion", text) for at_ns, text in night.promotions]
    events += [(at_ns, "daemon started", text) for at_ns, text in night.starts]
    events += [(at_ns, f"alarm {change.what}", _words(change)) for at_ns, change in night.alarms]
    events += [(at_ns, "model-mismatch", text) for at_ns, text in night.failures]
    for visit in night.visits.values():
        before: Advice | None = None
        for at_ns, advice in visit.advice:
            if advice.override and (before is None or before.override != advice.override):
                events.append((at_ns, "override", f"{visit.name}: {advice.override}"))
            if advice.verdict is Verdict.NO_ADVICE and (before is None or before.cause != advice.cause):
                events.append((at_ns, "no advice", f"{visit.name} exposure {advice.exposure}: {advice.cause}"))
            before = advice
    return [
        {"at": utc(at_ns).isoformat(timespec="seconds"), "kind": kind, "text": text}
        for at_ns, kind, text in sorted(events)
    ]


def _words(change: Change) -> str:
    who = f" by {change.author}" if change.author else ""
    level = f"{change.level}: " if change.level else ""
    return f"{level}{change.kind}{who}" + (f", {change.text}" if change.text else "")


def _todo(night: Night, visits: list[dict[str, Any]]) -> list[dict[str, str]]:
    health = _health(night)
    lines = []
    often = [int(fibre) for fibre, n in health["missing_fibres"].items() if n >= OFTEN_MISSING]
    if often:
        shown = ", ".join(map(str, often[:8])) + (f" and {len(often) - 8} more" if len(often) > 8 else "")
        lines.append(("fibre team", f"no data in {OFTEN_MISSING} visits or more from fibre {shown}"))
    if night.gaps:
        lines.append(("pipeline", f"messages were lost ({len(night.gaps)}); the audit says which"))
    if night.damage:
        lines.append(("operations", f"the journal is damaged ({plural(len(night.damage), 'place')}): check the disk"))
    if night.failures:
        lines.append(("operations", f"the network gave no answer ({plural(len(night.failures), 'time')})"))
    if (health["untrusted_share"] or 0) > 0.15:
        why = next(iter(health["untrusted_why"]), "no reason given")
        lines.append(
            ("machine learning", f"{100 * health['untrusted_share']:.0f}% of the stars were not trusted, most: {why}")
        )
    short = [v for v in visits if v["ended"] and v["at_goal"] is not None and v["need"] and v["at_goal"] < v["need"]]
    if short:
        names = ", ".join(str(v["field"] or v["design"]) for v in short[:4])
        lines.append(("survey", f"{plural(len(short), 'visit')} ended below the quorum: {names}"))
    beyond = sum(max(0, v["beyond_stop"] or 0) for v in visits if not v["override"])
    if beyond:
        lines.append(("observers", f"{plural(beyond, 'exposure')} taken after a STOP or MOVE ON; say why in the log"))
    return [{"owner": owner, "text": text} for owner, text in lines[:MAX_TODO]]


def _appendix(night: Night) -> dict[str, Any]:
    return {
        "version": __version__,
        "rules": sorted({a.rule for _, a in night.all_advice}),
        "plugins": sorted({plugin for _, a in night.all_advice for plugin in a.plugins}),
        "rerun": f"live-spec replay {night.folder.name} --json",
        "citation": "Leung & Bovy 2019, MNRAS 483, 3255",
    }
