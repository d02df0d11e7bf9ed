"""Compiling a C++ kernel once per machine, and loading it.

The sources ship with the package. At first use it is compiled for this very processor (two to three s) and kept in
the user's cache directory under a name that holds a hash of the source, the compiler and the processor, so that any
change makes a new file and processes may race for it. Without a compiler, or on a processor without AVX2, the engine
keeps to torch and says so; training does without a compiler.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path

VARIANTS = {"avx512-bf16": {"avx512_bf16", "avx512bw"}, "avx512": {"avx512f"}, "avx2": {"avx2", "fma"}}
"""How the engine's kernel is compiled, that with most instructions first, and what a processor must have for it."""
WITHOUT = {"avx512-bf16": (), "avx512": ("-mno-avx512bf16",), "avx2": ("-mno-avx512f",)}
"""What makes a compiler leave out what only the better ones have."""
TILES = "amx_bf16"
"""A processor with tiles for bfloat16 is slower at it in vectors than at float32 (benchmarks/engine.md)."""
FLAGS = ("-O3", "-march=native", "-std=c++17", "-funroll-loops", "-shared", "-fPIC")
COMPILERS = ("c++", "g++", "clang++")
COMPILE_S = 120.0


class NoKernel(RuntimeError):
    """Why there is no compiled kernel on this machine: one sentence."""


@cache
def load_kernel(variant: str | None = None) -> ctypes.CDLL:
    """The engine's compiled kernel, of the fastest variant for this processor, or a given one.

    Raises:
        NoKernel: Without a compiler, the instructions, or a directory to keep the result in.
    """
    has = set(_processor_flags().split())
    if not (able := variants(has)):
        raise NoKernel("this processor has no AVX2")
    if variant not in (None, *able):
        raise NoKernel(f"this processor cannot run the kernel for {variant}")
    wanted, richest = variant or able[0], next(name for name in VARIANTS if name in able)
    flags = () if wanted == richest else WITHOUT[wanted]  # an old compiler knows no flag for what it cannot make
    kernel = compiled("engine_kernel", ("kernel_vectors", "engine_kernel", "guard_kernel"), flags)
    kernel.scratch_bytes.restype = kernel.guard_scratch_bytes.restype = ctypes.c_size_t
    kernel.run_group.restype = kernel.guard_group.restype = None
    kernel.variant.restype = ctypes.c_char_p
    return kernel


def variants(has: set[str]) -> list[str]:
    """What a processor with these flags can run, the fastest first."""
    able = [name for name, needed in VARIANTS.items() if needed <= has]
    return sorted(able, key=lambda name: name == "avx512-bf16" and TILES in has)


def variant_of(kernel: ctypes.CDLL) -> str:
    """What the compiler made of it: one that does not know bfloat16 leaves it out."""
    return str(kernel.variant().decode())


def compiled(name: str, sources: Sequence[str], flags: Sequence[str] = ()) -> ctypes.CDLL:
    """The files ``nets/SOURCE.cpp``, one after the other, as one library.

    Raises:
        NoKernel: Without a compiler, or a directory to keep the result in.
    """
    compiler = os.environ.get("CXX") or next(filter(shutil.which, COMPILERS), None)
    if compiler is None:
        raise NoKernel(f"there is no C++ compiler ({', '.join(COMPILERS)})")
    package = resources.files("live_spec")
    source = b"".join(package.joinpath(f"nets/{part}.cpp").read_bytes() for part in sources)
    try:
        return _load(compiler, name, source, (*FLAGS, *flags))
    except (OSError, subprocess.SubprocessError) as error:
        raise NoKernel(f"the kernel could not be compiled or loaded: {_reason(error)}") from None


def _load(compiler: str, name: str, source: bytes, flags: Sequence[str]) -> ctypes.CDLL:
    made_by = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=COMPILE_S).stdout
    what = b"\0".join(
        (source, made_by, " ".join(flags).encode(), platform.machine().encode(), _processor_flags().encode())
    )
    directory = cache_directory()
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if directory.stat().st_uid != os.getuid():
        raise PermissionError(f"{directory} belongs to somebody else")
    library = directory / f"{name}_{hashlib.sha256(what).hexdigest()[:16]}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=directory) as work:
            made = Path(work) / "kernel.so"
            command = [compiler, *flags, "-x", "c++", "-", "-o", str(made)]
            subprocess.run(command, input=source, capture_output=True, check=True, timeout=COMPILE_S)
            made.replace(library)
    return ctypes.CDLL(str(library))


def cache_directory() -> Path:
    """``$XDG_CACHE_HOME/live-spec``, by default ``~/.cache/live-spec``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "live-spec"


@cache
def _processor_flags() -> str:
    """The ``flags`` line of the processor; empty where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith("flags")), "")


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return (error.stderr or b"").decode(errors="replace").strip().partition("\n")[0] or f"exit {error.returncode}"
    return str(error)
