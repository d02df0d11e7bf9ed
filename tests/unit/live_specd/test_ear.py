"""What a screen says when nobody answers."""

from __future__ import annotations

import pytest
from live_specd.ear import NoAnswer


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("tcp://127.0.0.1:5750", None), ("tcp://localhost:5750", None), ("ipc:///run/live-spec", None),
        ("tcp://*:5750", None), ("tcp://pipeline:5750", "pipeline"),
    ],
)  # fmt: skip
def test_only_a_daemon_elsewhere_is_asked_after_over_ssh(endpoint: str, host: str | None) -> None:
    said = NoAnswer(endpoint).format_message()
    assert said.startswith(f"no answer from {endpoint} after 2 s (exit 4)")
    assert "systemctl --user status live-spec" in said
    assert ("ssh" in said) is (host is not None)
    assert host is None or f"ssh -L 5750:localhost:5750 {host}" in said
