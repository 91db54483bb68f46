"""Build of the Cython packet path. `pip install -e .` or `make setup` runs it.

Environment:
  NSDATA_SANITIZE=address,undefined   build every extension under those sanitizers
  NSDATA_EXT="path.decode path.flow"  build these extensions only
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

# What foreign C each extension links: module suffix -> pkg-config names.
LIBRARIES = {
    "path.detect_content": ["libpcre2-8"],
    "path.detect_costs": ["libhs", "libpcre2-8"],
    "path.detect": ["libhs", "libpcre2-8"],
    "path.rulebase": ["libhs", "libpcre2-8"],
    "path.engine": ["libhs", "libpcre2-8"],
    "path.inspector": ["libhs", "libpcre2-8"],
    "path.verdict": ["libhs", "libpcre2-8"],
}
DEBIAN = {"libhs": "libhyperscan-dev", "libpcre2-8": "libpcre2-dev"}


def pkg_config(name: str, flag: str) -> list[str]:
    try:
        out = subprocess.run(["pkg-config", flag, name], capture_output=True, text=True)
    except FileNotFoundError:
        sys.exit("nsdata: pkg-config is missing. Try: apt-get install pkg-config")
    if out.returncode:
        sys.exit(
            f"nsdata: the C library {name} is missing. "
            f"Try: apt-get install {DEBIAN.get(name, name)}   (or: make setup)"
        )
    return out.stdout.split()


def extensions() -> list[Extension]:
    sanitize = os.environ.get("NSDATA_SANITIZE", "")
    wanted = os.environ.get("NSDATA_EXT", "").split()
    compile_args = ["-O3", "-g1", "-fno-strict-aliasing", "-Wno-unused-function"]
    link_args: list[str] = []
    if sanitize:
        compile_args = ["-O1", "-g", f"-fsanitize={sanitize}", "-fno-omit-frame-pointer"]
        link_args = [f"-fsanitize={sanitize}"]
    result = []
    for source in sorted(Path("nsdata").rglob("*.pyx")):
        module = ".".join(source.with_suffix("").parts)
        short = module.removeprefix("nsdata.")
        if wanted and short not in wanted:
            continue
        packages = LIBRARIES.get(short, [])
        result.append(
            Extension(
                module,
                [str(source)],
                include_dirs=[numpy.get_include()]
                + [f[2:] for p in packages for f in pkg_config(p, "--cflags-only-I")],
                define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
                extra_compile_args=compile_args,
                extra_link_args=link_args
                + [f for p in packages for f in pkg_config(p, "--libs")],
            )
        )
    return result


setup(
    ext_modules=cythonize(
        extensions(),
        build_dir="build/cython",
        language_level=3,
        compiler_directives={
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "embedsignature": True,
        },
    ),
)
