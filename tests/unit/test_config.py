from __future__ import annotations

from pathlib import Path

import pytest

from live_spec.config import Config, ConfigError, load, parse

GOOD = """
schema = 1
[[target]]
name = "giants"
select = "h < 12"
goals = { fe_h = 0.03, teff = 50 }
[limits]
stale_warn = "2 min"
"""


def test_values_carry_their_units() -> None:
    config = parse(GOOD, name="good.toml")
    assert config.limits.stale_warn == 120.0
    assert config.target[0].goals == {"fe_h": 0.03, "teff": 50.0}


def test_statement_22_every_mistake_is_listed_with_line_key_and_hint() -> None:
    text = """schema = 1
[[target]]
name = "x"
priorty = 1
goals = { mgfe = 0.03 }
[policy]
active = "a"
[[policy.rule]]
name = "a"
kind = "abundance-fracton"
fraction = 80
[limits]
stale_warn = 60
"""
    with pytest.raises(ConfigError) as error:
        parse(text, name="live-spec.toml")
    lines = str(error.value).splitlines()
    assert lines[0] == "live-spec.toml: 5 problems, nothing was started"
    assert [int(line.split()[1]) for line in lines[1:]] == [4, 5, 10, 11, 13]
    for words, line in zip(
        (
            "did you mean 'priority'?",
            "'mgfe' is no label",
            "did you mean 'abundance-fraction'?",
            "0.80, not 80?",
            '"60 s"',
        ),
        lines[1:],
        strict=True,
    ):
        assert words in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("schema = ", "not valid TOML"),
        ("schema = 2", "schema"),
        ("[[target]]\nname='a'\ngoals={}", "at least 1"),
        ("[[target]]\nname='a'\ngoals={fe_h=-0.1}", "positive 1-sigma limit in dex"),
        ("[[target]]\nname='a'\ngoals={fe_h=0.1}\nselect='hh < 3'", "'hh'"),
        ("[policy]\nactive='none'", "active rule 'none' is not defined"),
        ("[[policy.rule]]\nname='abundance-80'\nmin_exposures=9", "min_exposures 9 is above max_exposures 8"),
    ],
)
def test_mistakes_are_sentences(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(text, name="c.toml")
    assert words in str(error.value)


def test_statement_22_an_unknown_key_like_no_other_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError) as error:
        parse("[io]\nzzz = 1\n[[target]]\nname = 'a'\ngoals = { fe_h = 0.1 }\nqqq = 2\n[zebra]\n", name="c.toml")
    told = str(error.value)
    assert "line   2  io.zzz: unknown key; keys here are input, output, record, keep_nights, control, decisions" in told
    assert "line   6  target[0].qqq: unknown key; keys here are name, select, priority, goals, watch" in told
    assert "line   7  zebra: unknown key; keys here are schema, instrument" in told


def test_statement_22_a_mistake_hides_no_other() -> None:
    """The active rule is looked for among all rules, which pydantic does only when each of them is right."""
    text = (
        "[policy]\nactive = 'none'\n[[policy.rule]]\nname = 'a'\nfraction = 80\nmin_exposures = 'x'\nmax_exposures = 9"
    )
    with pytest.raises(ConfigError) as error:
        parse(text, name="c.toml")
    lines = str(error.value).splitlines()
    assert lines[0] == "c.toml: 3 problems, nothing was started"
    assert [line.split()[1] for line in lines[1:]] == ["1", "5", "6"]
    assert "active rule 'none' is not defined; rules are a" in lines[1]


def test_statement_22_mistakes_in_the_environment_are_listed_with_those_of_the_file() -> None:
    environ = {
        "LIVE_SPEC_LIMITS_STALE_STOP": "60", "LIVE_SPEC_LIMITS_STALE_WRN": "1 min", "LIVE_SPEC_MODEL_DRAWS": "many",
        "LIVE_SPEC_NOTIFY_ON": "serious", "LIVE_SPEC_FULL": "1", "LIVE_SPEC_LIMIT_STALE_WARN": "1 min",
    }  # fmt: skip
    with pytest.raises(ConfigError) as error:
        parse("[display]\ntheme = 'lihgt'", name="c.toml", environ=environ)
    told = str(error.value)
    assert told.startswith("c.toml: 6 problems, nothing was started")
    for words in (
        "$LIVE_SPEC_LIMITS_STALE_STOP: limits.stale_stop: must be a number with its unit",
        "$LIVE_SPEC_LIMITS_STALE_WRN: no such key; did you mean 'LIVE_SPEC_LIMITS_STALE_WARN'?",
        "$LIVE_SPEC_LIMIT_STALE_WARN: no such key; did you mean 'LIVE_SPEC_LIMITS_STALE_WARN'?",
        "$LIVE_SPEC_MODEL_DRAWS: model.draws: Input should be a valid integer",
        """$LIVE_SPEC_NOTIFY_ON: notify.on: must be a list, such as ["one"], not 'serious'""",
        "line   2  display.theme: Input should be 'default', 'light', 'mono' or 'night', not 'lihgt'",
    ):
        assert words in told


def test_what_the_environment_sets_is_the_configuration() -> None:
    environ = {"LIVE_SPEC_IO_RECORD": "/n", "LIVE_SPEC_LIMITS_UNTRUSTED_MAX": "0.25", "LIVE_SPEC_NOTIFY_ON": '["info"]'}
    config = parse("[io]\nrecord = '/f'", name="c.toml", environ=environ)
    assert (config.io.record, config.limits.untrusted_max, config.notify.on) == ("/n", 0.25, ("info",))


def test_unreadable_files_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe9'")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(tmp_path / "latin.toml")


def test_the_hash_follows_what_can_change_an_advice_and_nothing_else() -> None:
    base = Config()
    assert parse('schema = 1\n[io]\ninput = "tcp://x:1"\n[model]\nthreads = 3', name="c").sha == base.sha
    assert parse(GOOD, name="c").sha != base.sha


SHIPPED = [path for path in sorted(Path("configs").glob("*.toml")) if not path.name.startswith("train")]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_configurations_load(path: Path) -> None:
    load(path)
