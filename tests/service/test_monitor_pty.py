"""The real monitor in a real terminal (tmux): keys, resize, ctrl-z, the daemon's death and return, and a sane terminal
afterwards."""

from __future__ import annotations

import fcntl
import os
import pty
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.pane import Pane

from live_spec.view.ui import KEYS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux, a terminal that can be driven"),
]

ROOT = Path(__file__).parents[2]
PUBLISHER = ROOT / "tests" / "helpers" / "publisher.py"


@pytest.fixture
def endpoint() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def pane(request: pytest.FixtureRequest) -> Iterator[Pane]:
    pane = Pane(f"live-spec-{request.node.name[:40]}-{id(request)}")
    yield pane
    pane.tmux("kill-server")


@pytest.fixture
def publish(endpoint: str) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    running: list[subprocess.Popen[bytes]] = []

    def start(*words: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, str(PUBLISHER), endpoint, *words], stdout=subprocess.PIPE)
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def monitor(endpoint: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "live_spec", "monitor", "--connect", endpoint, *options]


Publish = Callable[..., "subprocess.Popen[bytes]"]


def test_statement_13_and_14_a_night_at_the_terminal(pane: Pane, publish: Publish, endpoint: str) -> None:
    daemon = publish("continue")
    pane.type(shlex.join(monitor(endpoint)), "Enter")
    assert pane.shows("► CONTINUE") < 5.0

    assert "1 to 3 shown" in pane.text()
    pane.type("j", "j")
    pane.shows("3 to 5 shown", within_s=1.0)
    pane.type("G")
    pane.shows("298 to 300 shown", within_s=1.0)
    pane.type("?")
    pane.shows("states of a target", within_s=1.0)
    pane.type("q")
    pane.shows("298 to 300 shown", within_s=1.0)
    pane.type("u")
    pane.shows("> CONTINUE", within_s=1.0)
    pane.type("u")

    pane.tmux("resize-window", "-t", "main", "-x", "140", "-y", "45")
    pane.shows("P(goal)", within_s=2.0)
    assert len(pane.text().splitlines()[0]) <= 140
    pane.tmux("resize-window", "-t", "main", "-x", "50", "-y", "10")
    pane.shows("enlarge the window", within_s=2.0)
    pane.tmux("resize-window", "-t", "main", "-x", "80", "-y", "24")
    pane.shows("► CONTINUE", within_s=2.0)

    daemon.kill()
    daemon.wait()
    assert pane.shows("LOST", within_s=4.0) < 4.0
    assert "► CONTINUE" not in pane.text()
    publish("stop")
    assert pane.shows("■ STOP", within_s=5.0) < 5.0

    pane.type("C-z")
    pane.shows("$", within_s=2.0)
    pane.until(lambda text: "STOP" not in text, "the shell's own screen")
    pane.type("fg", "Enter")
    pane.shows("■ STOP", within_s=2.0)

    pane.type("q")
    pane.until(lambda text: "STOP" not in text, "the shell's own screen")
    pane.type("echo sane", "Enter")
    pane.until(lambda text: text.rstrip().endswith("sane\n$"), "an echo in line mode")


def test_views_find_one_fibre_freeze_and_export(pane: Pane, publish: Publish, endpoint: str, tmp_path: Path) -> None:
    daemon = publish("continue")
    pane.type(f"cd {tmp_path}; {shlex.join(monitor(endpoint, '--view', '6'))}", "Enter")
    pane.shows("log, newest first")
    pane.type("2", "j", "j", "Enter")  # faster than any paint
    pane.shows("values against goals", within_s=2.0)
    pane.type("Escape")
    pane.shows("3 to ", within_s=1.0)
    for key, words in [("3", "median sigma after each exposure"), ("4", "what the circumstances cost"),
                       ("5", "advice of this visit"), ("6", "log, newest first"), ("2", "fibres 300")]:  # fmt: skip
        pane.type(key)
        pane.shows(words, within_s=1.0)
    pane.type("/")
    pane.shows("find / _", within_s=1.0)
    pane.type(*"state:late q<1", "Enter")
    pane.shows("'q' is no column", within_s=1.0)
    pane.type("/", *"state:late h<12", "Enter")
    pane.until(lambda text: "of 300" in text and "state:late h<12" in text, "the fibres that were looked for")
    pane.type("Enter")
    pane.shows("values against goals", within_s=1.0)
    first = pane.text()
    pane.type("n")
    pane.until(lambda text: text != first and "values against goals" in text, "the next fibre", within_s=1.0)
    pane.type("Escape")
    pane.shows("state:late h<12", within_s=1.0)
    pane.type("e")
    pane.shows("exported live-spec-LIVE-102631-61366-", within_s=1.0)
    assert {path.suffix for path in tmp_path.glob("live-spec-LIVE-*")} == {".svg", ".txt", ".json"}
    pane.type("p")
    pane.shows("FROZEN", within_s=1.0)
    daemon.kill()
    pane.shows("LOST", within_s=4.0)
    pane.type("q")
    pane.until(lambda text: "FROZEN" not in text, "the shell's own screen")


PRESSED = [
    ("j", "2 to 4 shown"), ("k", "1 to 3 shown"), ("Down", "2 to 4 shown"), ("Up", "1 to 3 shown"),
    ("PPage", "1 to 3 shown"), ("NPage", "4 to 6 shown"), ("Space", "7 to 9 shown"), ("PPage", "4 to 6 shown"),
    ("End", "298 to 300 shown"), ("Home", "1 to 3 shown"), ("G", "298 to 300 shown"), ("g", "1 to 3 shown"),
    ("s", "sorted by fibre"), ("S", "sorted by fibre reversed"), ("S", "sorted by fibre,"), ("f", "late,"),
    ("Escape", "fibres 300"), ("c", "cells: sigma ─"), ("t", "CONTINUE"), ("u", "> CONTINUE"), ("u", "► CONTINUE"),
    ("F1", "states of a target"), ("?", "cells: sigma ─"), ("e", "exported"), ("y", "there is no command to copy"),
    ("a", "this screen only shows"), ("A", "this screen only shows"), ("o", "this screen only shows"),
    ("p", "FROZEN"), ("p", "cells: sigma ─"), ("/", "find / _"), ("Escape", "cells: sigma ─"), ("Enter", "fibre 1 "),
    ("n", "fibre 2 "), ("p", "fibre 1 "), ("v", "spectrum"), ("v", "sigma of"), ("Escape", "fibres 300"),
    ("2", "1 to 15 shown"), ("3", "median sigma after"), ("4", "circumstances cost"), ("5", "advice of this visit"),
    ("6", "log, newest first"), ("1", "1 to 3 shown"), ("q", "code 0"),
]  # fmt: skip
"""Every key of the help page and what it brings, one after the other."""


def test_every_key_does_at_the_terminal_what_the_help_page_says(
    pane: Pane, publish: Publish, endpoint: str, tmp_path: Path
) -> None:
    named = {"pgdn": "NPage", "pgup": "PPage", "esc": "Escape"}
    listed = {key for keys in KEYS for key in keys.split()} - {"ctrl-c"}
    assert {named.get(key, key if len(key) == 1 else key.capitalize()) for key in listed} <= {key for key, _ in PRESSED}
    publish("continue")
    pane.type(f"cd {tmp_path}; {shlex.join(monitor(endpoint))}; echo code $?", "Enter")
    pane.shows("1 to 3 shown")
    for key, words in PRESSED:
        pane.type(key)
        pane.shows(words)
    pane.type(f"clear; {shlex.join(monitor(endpoint))}; echo again $?", "Enter")
    pane.shows("1 to 3 shown")
    pane.type("C-c")
    pane.shows("again 0")


def test_statement_11_keys_are_answered_while_data_arrive(pane: Pane, publish: Publish, endpoint: str) -> None:
    publish("continue", "0.02")  # fifty snapshots a second
    pane.type(shlex.join(monitor(endpoint)), "Enter")
    pane.shows("1 to 3 shown")
    for n in range(1, 11):
        pane.type("j")
        pane.shows(f"{n + 1} to {n + 3} shown", within_s=1.0)


def test_statement_19_the_command_is_copied_whole_to_the_terminal(pane: Pane, publish: Publish, endpoint: str) -> None:
    publish("command")
    pane.tmux("set-option", "-g", "set-clipboard", "on")
    pane.type(shlex.join(monitor(endpoint)), "Enter")
    pane.shows("type   hal expose --modify --count-apogee 3 --pairs")
    pane.type("y")
    pane.shows("copied, to be typed by you: hal expose", within_s=2.0)
    assert pane.tmux("show-buffer").strip() == "hal expose --modify --count-apogee 3 --pairs"


def test_statement_14_a_killed_monitor_leaves_a_sane_terminal(pane: Pane, publish: Publish, endpoint: str) -> None:
    publish("continue")
    pane.type(f"echo $$ > /dev/null; {shlex.join(monitor(endpoint))}; echo code $?", "Enter")
    pane.shows("► CONTINUE")
    shell = pane.tmux("display-message", "-p", "-t", "main", "#{pane_pid}").strip()
    (child,) = subprocess.run(["pgrep", "-P", shell], capture_output=True, text=True, check=True).stdout.split()
    subprocess.run(["kill", "-TERM", child], check=True)
    pane.shows("code ", within_s=3.0)
    assert "► CONTINUE" not in pane.text()


def test_once_prints_a_whole_screen_and_exits(publish: Publish, endpoint: str) -> None:
    publish("demo")
    done = subprocess.run(monitor(endpoint, "--once", "--size", "80x24"), capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 24
    assert {len(line) for line in lines} == {80}
    assert "DEMO" in lines[0]
    assert "trained on simulated spectra" in lines[2]
    assert "\x1b" not in done.stdout


def test_a_picture_needs_no_other_file(publish: Publish, endpoint: str, tmp_path: Path) -> None:
    publish("demo")
    picture = tmp_path / "screen.svg"
    page = tmp_path / "screen.html"
    subprocess.run(monitor(endpoint, "--svg", str(picture), "--html", str(page), "--size", "80x24"), check=True)
    assert "CONTINUE" in page.read_text("utf-8")
    assert picture.read_text("utf-8") in page.read_text("utf-8")  # with the reversed header of a demo
    assert "src=" not in page.read_text("utf-8")
    svg = picture.read_text("utf-8")
    assert svg.startswith("<svg")
    assert "CONTINUE" in svg
    assert "url(" not in svg.replace("url(#", "")


def test_into_a_pipe_it_speaks_in_sentences(publish: Publish, endpoint: str) -> None:
    publish("continue")
    with subprocess.Popen(monitor(endpoint), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "design 48213 loaded: 300 fibres" in process.stdout.readline()
        assert "exposure 4 of 6 received" in process.stdout.readline()
        process.kill()


def test_without_a_daemon_it_says_so_within_three_seconds_and_exits_4(endpoint: str) -> None:
    started = time.monotonic()
    done = subprocess.run(monitor(endpoint, "--once"), capture_output=True, text=True, check=False)
    assert time.monotonic() - started < 5.0
    assert done.returncode == 4
    assert done.stderr.startswith(f"live-spec: no answer from {endpoint} after 2 s (exit 4)\n")
    assert "Traceback" not in done.stderr


def test_statement_03_the_monitor_imports_no_network_and_no_archive() -> None:
    code = "import sys, live_specd.monitor; print({name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for heavy in ("torch", "astropy", "matplotlib", "pyarrow", "scipy"):
        assert f"'{heavy}'" not in done.stdout


def test_statement_14_detached_and_attached_again_it_is_whole(pane: Pane, publish: Publish, endpoint: str) -> None:
    publish("continue")
    pane.type(shlex.join(monitor(endpoint)), "Enter")
    pane.shows("► CONTINUE")
    pid, terminal = pty.fork()  # a second terminal, of another size, in which a person attaches
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execvp("tmux", ["tmux", "-L", pane.server, "attach", "-t", "main"])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 46, 140, 0, 0))
    try:
        pane.shows("P(goal)", within_s=5.0)  # the wide screen
        pane.tmux("detach-client", "-s", "main")
    finally:
        while True:  # the end of the client
            try:
                if not os.read(terminal, 65536):
                    break
            except OSError:
                break
        os.close(terminal)
        os.waitpid(pid, 0)
    assert "► CONTINUE" in pane.text()
    pane.type("j")
    pane.shows("2 to ", within_s=2.0)
    pane.type("q")
    pane.until(lambda text: "CONTINUE" not in text, "the shell's own screen")


def test_statement_14_an_exception_leaves_a_sane_terminal(pane: Pane, tmp_path: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text(
        "from live_specd.terminal import Terminal\n"
        "with Terminal() as terminal:\n"
        "    terminal.paint(['a screen that breaks'])\n"
        "    input()\n"
        "    raise RuntimeError('boom')\n"
    )
    pane.type(shlex.join([sys.executable, str(script)]), "Enter")
    pane.shows("a screen that breaks")
    pane.type("Enter")
    pane.shows("RuntimeError: boom", within_s=5.0)
    assert "a screen that breaks" not in pane.text()
    pane.type("echo sane", "Enter")
    pane.until(lambda text: text.rstrip().endswith("sane\n$"), "an echo in line mode")
