"""``pip install .`` into a bare environment, as a stranger does it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from importlib import metadata
from pathlib import Path

import pytest
from helpers.sizes import IS_FULL

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def works(bare: Path) -> None:
    """The command is there, runs from the installed package, and the package has its data."""
    done = subprocess.run(
        [bare / "bin" / "live-spec", "--version"], capture_output=True, text=True, check=True, cwd=bare
    )
    assert done.stdout == f"live-spec {PROJECT['version']}\n"
    where = "import live_spec, live_specd; print(live_spec.__file__, live_specd.__file__)"
    at = subprocess.run([bare / "bin" / "python", "-c", where], capture_output=True, text=True, check=True, cwd=bare)
    assert all(path.startswith(str(bare)) for path in at.stdout.split())
    verify = [bare / "bin" / "live-spec", "model", "verify"]
    assert subprocess.run(verify, capture_output=True, check=False, cwd=bare).returncode == 0


@pytest.mark.slow
def test_statement_01_an_installed_package_works(tmp_path: Path) -> None:
    """With the packages it depends on as they are here; the next test brings them from the network."""
    bare = tmp_path / "bare"
    venv.create(bare, with_pip=False, symlinks=True)
    pip = [sys.executable, "-m", "pip"]
    build = [*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    into = [*pip, "--python", str(bare / "bin" / "python"), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(into, check=True, cwd=tmp_path)
    here = Path(sysconfig.get_path("purelib", vars={"base": str(bare)}))
    (here / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    works(bare)


@pytest.mark.slow
@pytest.mark.skipif(not IS_FULL, reason="brings everything from the network: LIVE_SPEC_FULL=1")
def test_statement_01_nothing_but_pip_and_the_network_is_needed(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    venv.create(bare, with_pip=True, symlinks=True)
    pip = [bare / "bin" / "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt"]
    subprocess.run([*pip, str(ROOT)], check=True)
    works(bare)


@pytest.mark.slow
def test_statement_01_what_is_imported_is_declared() -> None:
    """By us, or by a package that we declare and whose part it is."""
    declared = [normal(text) for text in PROJECT["dependencies"]]
    parts = [normal(text) for one in declared for text in metadata.requires(one) or [] if "extra ==" not in text]
    optional = {"ray"}
    owners = metadata.packages_distributions()
    for path in [*(ROOT / "live_spec").rglob("*.py"), *(ROOT / "daemon").rglob("*.py")]:
        for name in imported(path) - set(sys.stdlib_module_names) - {"live_spec", "live_specd"} - optional:
            owner = {normal(distribution) for distribution in owners[name]}
            assert owner & {*declared, *parts}, f"{path.relative_to(ROOT)} imports {name}"


def normal(requirement: str) -> str:
    """The name in a requirement, as packages are compared."""
    name = re.match(r"[\w.-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found
