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


def test_every_mistake_is_listed_with_line_key_and_hint() -> None:
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
