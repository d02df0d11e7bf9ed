"""Configurations as text: origins, meanings, where files are looked for, the first file."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from live_spec.commands.config import config, init
from live_spec.commands.config_keys import PydanticUndefined, first_file, keys, origins
from live_spec.commands.found import OUTPUT, candidates, found_output
from live_spec.config import load, parse

RUN = CliRunner()


def test_every_key_has_a_meaning_and_what_may_stand_there() -> None:
    for key in keys():
        assert len(key.doc) > 10, key
        assert key.doc.endswith((".", "?", "'")), key
        assert key.kind
        assert "`" not in key.doc
    paths = [key.path for key in keys()]
    assert len(paths) == len(set(paths)) > 35
    assert {"limits.stale_stop", "policy.rule.fraction", "target.goals", "schema"} <= set(paths)


@pytest.mark.parametrize("instrument", ["apogee-n", "apogee-s", "generic"])
def test_the_first_file_is_valid_and_names_every_key(instrument: str) -> None:
    text = first_file(instrument)
    loaded = parse(text, name="first")
    assert loaded.instrument.name == instrument
    assert loaded.instrument.observatory == ("LCO" if instrument == "apogee-s" else "APO")
    for key in keys():
        assert f"{key.path.rpartition('.')[2]} = " in text


def test_init_never_overwrites(tmp_path: Path) -> None:
    assert RUN.invoke(init, [str(tmp_path / "new")]).exit_code == 0
    path = tmp_path / "new" / "live-spec.toml"
    assert load(path).target[0].goals == {"fe_h": 0.05, "mg_h": 0.05}
    path.write_text("mine")
    again = RUN.invoke(init, [str(tmp_path / "new")])
    assert again.exit_code == 1
    assert path.read_text() == "mine"


TEXT = """schema = 1
[[target]]
name = "a"
goals = { fe_h = 0.05 }
[[target]]
name = "b"
priority = 0
goals = { mg_h = 0.05 }
[limits]
stale_stop = "4 min"
"""


def test_statement_23_show_origin_tells_for_each_value_where_it_comes_from(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(TEXT)
    rows = {key: (value, origin) for key, value, origin in origins(TEXT, "x.toml")}
    assert rows["limits.stale_stop"] == ('"4 min"', "x.toml:10")
    assert rows["limits.stale_warn"] == ('"60 s"', "default")
    assert rows["target[0].name"] == ('"a"', "x.toml:3")
    assert rows["target[1].name"] == ('"b"', "x.toml:6")
    assert rows["target[0].priority"] == ("1", "default")
    assert rows["target[1].priority"] == ("0", "x.toml:7")
    assert rows["policy.rule[0].name"] == ('"abundance-80"', "default")
    shown = RUN.invoke(config, ["show", "--origin", str(path)])
    assert shown.exit_code == 0
    assert f"{path}:10" in shown.stdout


def test_statement_23_a_variable_of_the_environment_stands_above_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.toml"
    path.write_text(TEXT)
    for name, text in {"LIMITS_STALE_STOP": "7 min", "MODEL_DRAWS": "30", "NOTIFY_COMMAND": '["say"]'}.items():
        monkeypatch.setenv(f"LIVE_SPEC_{name}", text)
    for source in ([str(path)], []):
        monkeypatch.setenv("LIVE_SPEC_CONFIG", str(path))
        shown = RUN.invoke(config, ["show", "--origin", *source])
        assert shown.exit_code == 0, shown.exception
        rows = {line.split()[0]: line for line in shown.stdout.splitlines()}
        assert rows["limits.stale_stop"].split()[1:] == ['"7', 'min"', "$LIVE_SPEC_LIMITS_STALE_STOP"]
        assert rows["model.draws"].split()[1:] == ["30", "$LIVE_SPEC_MODEL_DRAWS"]
        assert rows["notify.command"].split()[1:] == ['["say"]', "$LIVE_SPEC_NOTIFY_COMMAND"]
        assert rows["target[1].name"].split()[1:] == ['"b"', f"{path}:6"]
        assert json.loads(RUN.invoke(config, ["show", *source]).stdout)["limits"]["stale_stop"] == 420.0
    assert load(path).limits.stale_stop == 240.0, "what judges recordings reads the file alone"


def test_statement_23_the_schema_takes_what_we_write_and_refuses_what_we_refuse() -> None:
    """As an editor does, which compares the file with the schema and knows nothing else."""
    schema = json.loads(RUN.invoke(config, ["schema"]).stdout)
    check = jsonschema.Draft202012Validator(schema)
    check.check_schema(schema)
    for path in sorted((Path(__file__).parents[3] / "configs").glob("*.toml")):
        if not path.name.startswith("train-"):
            check.validate(tomllib.loads(path.read_text("utf-8")))
    check.validate(tomllib.loads(first_file("apogee-n")))
    for wrong in ("[limit]\na = 1", "[limits]\nstale_stop = 60", '[policy]\nmode = "live"', '[io]\nrecrod = "x"'):
        assert not check.is_valid(tomllib.loads(f"schema = 1\n{wrong}")), wrong


def test_every_key_of_a_single_table_has_one_variable() -> None:
    variables = {key.path: key.variable for key in keys() if key.variable}
    assert len(set(variables.values())) == len(variables) > 25
    assert {key.path for key in keys()} - set(variables) == {
        key.path for key in keys() if key.path.startswith(("target.", "policy.rule.")) or key.path == "schema"
    }
    assert "variable: LIVE_SPEC_IO_RECORD" in RUN.invoke(config, ["explain", "io.record"]).stdout


def test_explain_a_key_a_section_and_a_mistake() -> None:
    told = RUN.invoke(config, ["explain", "limits.stale_stop"]).stdout
    assert "NO ADVICE" in told
    assert 'default: "3 min"' in told
    assert RUN.invoke(config, ["explain", "limits"]).stdout.count("allowed:") == 5
    assert "must be given" in RUN.invoke(config, ["explain", "target.goals"]).stdout
    wrong = RUN.invoke(config, ["explain", "limits.stale_stp"])
    assert wrong.exit_code == 2
    assert "did you mean 'limits.stale_stop'?" in wrong.stderr
    document = json.loads(RUN.invoke(config, ["explain", "--json", "policy.rule.fraction"]).stdout)
    assert document["keys"][0]["allowed"] == "a number, above 0, at most 1"
    assert next(key for key in keys() if key.path == "target.name").default is PydanticUndefined


def test_screens_look_for_the_daemon_where_the_configuration_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.toml"
    monkeypatch.setenv("LIVE_SPEC_CONFIG", str(path))
    for text, output in [
        ('[io]\noutput = "tcp://127.0.0.1:7"', "tcp://127.0.0.1:7"), ("[io]", OUTPUT), ("io = 1", OUTPUT),
        ("[io", OUTPUT), ("[io]\noutput = 7", OUTPUT),
    ]:  # fmt: skip
        path.write_text(text)
        assert found_output() == output
    monkeypatch.setenv("LIVE_SPEC_IO_OUTPUT", "tcp://127.0.0.1:8")
    assert found_output() == "tcp://127.0.0.1:8"


def test_where_a_file_is_looked_for() -> None:
    home = Path("/home/kp")
    assert [str(path) for _, path in candidates({}, home)] == [
        "live-spec.toml", "/home/kp/.config/live-spec/live-spec.toml", "/etc/live-spec/live-spec.toml",
    ]  # fmt: skip
    found = candidates({"LIVE_SPEC_CONFIG": "/x.toml", "XDG_CONFIG_HOME": "/c"}, home)
    assert [str(path) for _, path in found][::2] == ["/x.toml", "/c/live-spec/live-spec.toml"]
