"""The ten parts of a night's report as one plain document; HTML, Markdown and JSON all come from it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from live_spec import __version__
from live_spec.events import TargetState, Verdict
from live_spec.labels import LABELS, symbol, unit
from live_spec.words import plural
from live_specd.earlier import dead, figures, history
from live_specd.night import Night, VisitRecord, final_sigmas, utc
from live_specd.night_forecast import forecasts
from live_specd.night_people import alarm_words, alarms, audit, order_words, overrides, steps
from live_specd.night_sky import moment_s, moons, over_the_night

SCHEMA = "live-spec.report/1"
MAX_TODO = 5
NUMBER = re.compile(r"\d+(\.\d+)?")
OFTEN_MISSING = 2
"""Visits of a night without data from which on a fibre is somebody's business."""
NIGHTS_IN_A_ROW = 2
"""The same for nights in which it had no data at all."""


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
        before: Earlier nights, oldest first, whose medians and coverage stand beside this night's.
    """
    moon = moons(night)
    visits = [_visit(visit) | {"moon": moon.get(name)} for name, visit in night.visits.items()]
    earlier = [_figures(one) for one in before]
    points = _strip(night)
    return {
        "schema": SCHEMA,
        "night": name or (utc(night.first_ns).strftime("%Y-%m-%d") if night.first_ns is not None else None),
        "folder": night.folder.name,
        "page_before": None,
        "headline": _headline(night, visits, rules),
        "strip": points,
        "sky": over_the_night(night, points),
        "marks": [
            {"at": at_ns / 1e9, "level": change.level, "text": alarm_words(change)}
            for at_ns, change in night.alarms
            if change.what == "raised"
        ],
        "orders": [{"at": at_ns / 1e9, "text": order_words(order)} for at_ns, order in night.overrides],
        "visits": visits,
        "forecast": forecasts(night),
        "elements": _elements(night),
        "programs": _programs(night),
        "own": _figures(night),
        "history": history(earlier),
        "policies": _policies(night),
        "rules": rules,
        "health": _health(night),
        "overrides": overrides(night),
        "alarms": alarms(night),
        "audit": audit(night),
        "todo": _todo(night, visits, [one["dead"] for one in earlier]),
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
        "steps": steps(visit),
    }


def _headline(night: Night, visits: list[dict[str, Any]], rules: dict[str, Any] | None = None) -> dict[str, Any]:
    exposures = [e for v in night.visits.values() for e in v.exposures.values()]
    timed = [e.exptime_s for e in exposures if e.exptime_s]
    stops = [v for v in visits if v["beyond_stop"] is not None and v["ended"]]
    saved = [v["saved"] * v["exposure_s"] / 60 for v in visits if v["saved"] is not None and v["exposure_s"]]
    causes = [a.cause for _, a in night.all_advice if a.verdict is Verdict.NO_ADVICE]
    last = {NUMBER.sub("#", cause): cause for cause in causes}  # the same cause, whatever its numbers
    silent = Counter(NUMBER.sub("#", cause) for cause in causes)
    unadvised = [s for v in visits for s in v["steps"] if s["verdict"] in (None, Verdict.NO_ADVICE.value)]
    without = [s["exptime_s"] for s in unadvised]
    sn2 = (rules or {}).get("totals", {}).get("sn2-1600")
    return {
        "visits": len(visits),
        "exposures": len(exposures),
        "spectra": sum(e.n_fibres for e in exposures),
        "open_shutter_h": sum(timed) / 3600 if timed else None,
        "at_goal": sum(v["states"].get(TargetState.AT_GOAL.value, 0) for v in visits),
        "targets": sum(sum(v["states"].values()) for v in visits),
        "minutes_saved": sum(saved) if saved else None,
        "minutes_saved_sn2": sn2["minutes"] - sum(timed) / 60 if sn2 and timed else None,
        "stops_advised": len(stops),
        "stops_followed": sum(v["beyond_stop"] == 0 for v in stops),
        "advice": len(night.all_advice),
        "no_advice": sum(silent.values()),
        "no_advice_causes": {last[cause]: n for cause, n in silent.most_common(3)},
        "exposures_without_advice": len(unadvised),
        "minutes_without_advice": None if None in without else sum(without) / 60,
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
                    "ended": moment_s(exposure.observed_at),
                    "visit": visit.name,
                    "exposure": exposure.number,
                    "exptime_s": exposure.exptime_s,
                    "verdict": said[-1].verdict.value if said else None,
                    "snr2_gained": gained,
                    "sky_relative": exposure.sky_relative,
                    "seeing_arcsec": exposure.seeing_arcsec,
                    "held": bool(said and said[-1].override),
                }
            )
    return points


def _figures(night: Night) -> dict[str, Any]:
    headline = _headline(night, [_visit(visit) for visit in night.visits.values()])
    return figures(night, headline, _health(night), forecasts(night))


def _elements(night: Night) -> list[dict[str, Any]]:
    """Uncertainties reached by the trusted stars, and how often each label was the limiting one."""
    sigma_FL = final_sigmas(night)
    finals = [a for v in night.visits.values() if (a := v.final) is not None]
    limiting = Counter(a.limiting for a in finals if a.limiting)
    rows = []
    for column, label in enumerate(LABELS):
        values = sigma_FL[:, column] if sigma_FL.size else np.empty(0)
        values = values[np.isfinite(values)]
        if not values.size:
            continue
        low, middle, high = (float(q) for q in np.quantile(values, (0.16, 0.5, 0.84)))
        wanted = [share for a in finals for row in a.programs if (share := row.labels.get(label)) is not None]
        goals = [share.goal for share in wanted]
        rows.append(
            {"label": label, "symbol": symbol(label), "unit": unit(label), "n": int(values.size), "median": middle,
             "p16": low, "p84": high, "limited": limiting.get(label, 0), "wanted": sum(share.n for share in wanted),
             "at_goal": sum(share.at_goal for share in wanted), "goal_lo": min(goals, default=None),
             "goal_hi": max(goals, default=None)}
        )  # fmt: skip
    return rows


def _programs(night: Night) -> list[dict[str, Any]]:
    """Targets of each program (SDSS: carton) where their visits ended, and how many have each label at its goal."""
    rows: dict[str, dict[str, Any]] = {}
    for visit in night.visits.values():
        for standing in visit.final.programs if visit.final else ():
            row = rows.setdefault(standing.program, {"program": standing.program, "n": 0, "states": {}, "labels": {}})
            row["n"] += sum(standing.states.values())
            row["states"] = {state: row["states"].get(state, 0) + n for state, n in standing.states.items()}
            for label, share in standing.labels.items():
                at_goal, n = row["labels"].get(label, (0, 0))
                row["labels"][label] = [at_goal + share.at_goal, n + share.n]
    return sorted(rows.values(), key=lambda row: (-row["n"], row["program"]))


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
    lag_s = [e.at_ns / 1e9 - s for v in night.visits.values() for e in v.exposures.values()
             if (s := moment_s(e.observed_at)) is not None]  # fmt: skip
    answers = [v.last for v in night.visits.values() if v.last is not None]
    reasons = Counter(why.partition(":")[0] for answer in answers for why in answer.posterior.why_F if why)
    n_stars = sum(len(answer.posterior) for answer in answers)
    missing: Counter[int] = Counter()
    untrusted: Counter[int] = Counter()
    for visit in night.visits.values():
        missing.update(fibre for fibre, times in visit.missing.items() if times)
    for answer in answers:
        untrusted.update(int(fibre) for fibre in answer.fibre_F[~answer.posterior.trusted_F])
    return {
        "untrusted_share": sum(int((~a.posterior.trusted_F).sum()) for a in answers) / n_stars if n_stars else None,
        "untrusted_why": dict(reasons.most_common(5)),
        "untrusted_fibres": {str(fibre): n for fibre, n in sorted(untrusted.items())},
        "missing_fibres": {str(fibre): n for fibre, n in sorted(missing.items())},
        "fibres": sorted({fibre for visit in night.visits.values() for fibre in visit.fibres}),
        "latency_s": _percentiles(latency_s),
        "n_latency": len(latency_s),
        "lag_s": _percentiles(lag_s),
        "sources": len({stream for stream, _ in night.epochs}),
        "source_restarts": len(night.epochs) - len({stream for stream, _ in night.epochs}),
        "daemon_starts": sum(kind == "daemon started" for _, kind, _ in night.starts),
        "degraded": len([a for _, a in night.all_advice if a.degraded]),
        "bundles": sorted({a.bundle for _, a in night.all_advice if a.bundle}),
        "configs": sorted({a.config for _, a in night.all_advice}),
        "modes": sorted({a.mode for _, a in night.all_advice}),
        "records": night.n_records,
        "damage": list(night.damage),
    }


def _percentiles(seconds: list[float]) -> list[float] | None:
    return [float(q) for q in np.quantile(seconds, (0.5, 0.9, 0.99))] if seconds else None


def _todo(night: Night, visits: list[dict[str, Any]], dead_before: list[list[int]]) -> list[dict[str, str]]:
    """At most five lines, each with who should look at it; the first are those that cost most."""
    health = _health(night)
    lines = []
    again = {}
    for fibre in dead(night):
        before = next((n for n, others in enumerate(reversed(dead_before)) if fibre not in others), len(dead_before))
        if before + 1 >= NIGHTS_IN_A_ROW:
            again[fibre] = before + 1
    if again:
        lines.append(("fibre team", _many([f"fibre {f}: no data for {n} nights in a row" for f, n in again.items()])))
    several = [int(fibre) for fibre, n in health["missing_fibres"].items() if n >= OFTEN_MISSING]
    often = [fibre for fibre in several if fibre not in again]
    if often:
        shown = _many([str(fibre) for fibre in often], ", ")
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
    unseen = sorted({row["kind"] for row in alarms(night) if row["acknowledged"] is None})
    if unseen:
        lines.append(("observers", f"alarms that nobody acknowledged: {', '.join(unseen)}"))
    return [{"owner": owner, "text": text} for owner, text in lines[:MAX_TODO]]


def _many(words: list[str], between: str = "; ", most: int = 8) -> str:
    return between.join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def _appendix(night: Night) -> dict[str, Any]:
    return {
        "version": __version__,
        "versions": sorted({a.code for _, a in night.all_advice if a.code}),
        "rules": sorted({a.rule for _, a in night.all_advice}),
        "plugins": sorted({plugin for _, a in night.all_advice for plugin in a.plugins}),
        "settings": night.settings,
        "rerun": f"live-spec replay {night.folder.name} --json",
        "citation": "Leung & Bovy 2019, MNRAS 483, 3255",
    }
