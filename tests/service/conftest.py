from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a small network with random weights and few passes: quick, and valid in every other way."""
    from helpers.bundles import bundle

    path = tmp_path_factory.mktemp("bundle")
    bundle(passes=4).save(path)
    return path
