"""``live-spec config``: every mistake at once, defaults in full, a schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from live_spec.commands.main import main

CONFIGS = sorted((Path(__file__).parents[3] / "configs").glob("*.toml"))
CONFIGS = [path for path in CONFIGS if not path.name.startswith("train-")]
MISTAKES = """\
schema = 1
[limits]
stale_warn = 60
[[target]]
name = "all"
goals = { fe_g = 0.05 }
[policy]
activ = "abundance-80"
"""


def exits(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(["config", *arguments])
    return ended.value.code


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_configurations_that_ship_are_valid(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exits("validate", str(path)) == 0
    assert ": ok (sha " in capsys.readouterr().out


def test_statement_22_all_mistakes_are_listed_and_the_exit_code_is_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "wrong.toml"
    path.write_text(MISTAKES)
    for command in (["config", "validate", str(path)], ["serve", "--config", str(path)]):
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert ended.value.code == 3
        out, err = capsys.readouterr()
        assert not out
        assert "3 problems, nothing was started" in err
        for words in ("line   3", "line   6", "line   8", "did you mean 'fe_h'", "did you mean 'active'", '"60 s"'):
            assert words in err
    assert [found.name for found in tmp_path.iterdir()] == ["wrong.toml"], "a folder was made"


@pytest.mark.parametrize("content", [b"schema = [", b"\xff\xfe", None])
def test_a_file_that_cannot_be_read_is_a_sentence(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file.toml"
    if content is not None:
        path.write_bytes(content)
    assert exits("validate", str(path)) == 3
    assert "Traceback" not in capsys.readouterr().err


def test_validate_speaks_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert exits("validate", "--json", str(CONFIGS[0])) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "live-spec.config-validate/1"


def test_show_fills_in_the_defaults_and_schema_describes_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert exits("show") == 0
    shown = json.loads(capsys.readouterr().out)
    assert exits("schema") == 0
    schema = json.loads(capsys.readouterr().out)
    assert set(shown) == set(schema["properties"])
    # In the file a duration is a text with its unit; a bare number is a mistake.
    assert schema["$defs"]["Limits"]["properties"]["stale_stop"]["type"] == "string"
