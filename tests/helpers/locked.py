"""A folder of keys, one per role."""

from __future__ import annotations

from pathlib import Path

from live_spec.curve.keys import Role, make_key, revoke

NOW = "2026-11-25T08:00:00Z"
STREAM = "apo/apogee-n"


def key_folder(folder: Path) -> Path:
    """Keys called as their roles, and one called ``revoked``, whose role was the most powerful."""
    for role in Role:
        if role is not Role.DAEMON:
            make_key(folder, role.value, role, (STREAM,) if role is Role.SOURCE else (), NOW)
    make_key(folder, "revoked", Role.ADMIN, (), NOW)
    revoke(folder, "revoked", NOW)
    return folder
