"""Puts the shared library into the wheel, and gives the wheel the tag of its platform.

The library is that of LIMBECK_LIBRARY, or else cargo builds it from the repository around this folder.
The wheel works with every Python 3: its code is Python and reaches the library through ctypes.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

REPOSITORY = Path(__file__).resolve().parents[2]
NAME = {"darwin": "liblimbeck.dylib", "win32": "limbeck.dll"}.get(sys.platform, "liblimbeck.so")


def version() -> str:
    """The version of the workspace, the one place where it stands."""
    manifest = (REPOSITORY / "Cargo.toml").read_text(encoding="utf-8")
    found = re.search(r'^\[workspace\.package\]\n(?:[^\[].*\n)*?version = "([^"]+)"', manifest, re.MULTILINE)
    if not found:
        raise SystemExit(f"no version in {REPOSITORY / 'Cargo.toml'}: build from a checkout of limbeck")
    return found[1]


def library() -> Path:
    """The shared library that goes into the wheel."""
    given = os.environ.get("LIMBECK_LIBRARY")
    if given:
        path = Path(given).resolve()
        if not path.is_file():
            raise SystemExit(f"LIMBECK_LIBRARY names {path}, which is not there")
        return path
    profile = "min-size"
    command = ["cargo", "build", "--locked", "--package", "limbeck-capi", "--lib", "--profile", profile]
    try:
        subprocess.run(command, cwd=REPOSITORY, check=True)
        found = subprocess.run(
            ["cargo", "metadata", "--no-deps", "--format-version=1"], cwd=REPOSITORY, check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"liblimbeck cannot be built: {error}; or set LIMBECK_LIBRARY to one") from error
    target = re.search(r'"target_directory":"((?:[^"\\]|\\.)*)"', found.stdout.decode())
    return Path(target[1].replace("\\\\", "\\")) / profile / NAME


def platform_tag(path: Path) -> str:
    """On Linux by the newest symbols of glibc that the library asks for, which decide where it runs (PEP 600)."""
    if not sys.platform.startswith("linux"):
        return re.sub(r"[^a-z0-9]", "_", sysconfig.get_platform().lower())
    symbols = re.findall(rb"\x00GLIBC_2\.(\d+)(?=[.\x00])", path.read_bytes())
    if not symbols:
        return f"linux_{platform.machine()}"
    return f"manylinux_2_{max(map(int, symbols))}_{platform.machine()}"


class Build(build_py):
    def run(self) -> None:
        # Not what an earlier build left.
        shutil.rmtree(Path(self.build_lib) / "limbeck", ignore_errors=True)
        super().run()
        package = Path(self.build_lib) / "limbeck"
        shutil.copyfile(library(), package / NAME)
        for licence in ("LICENSE-APACHE", "LICENSE-MIT"):
            shutil.copyfile(REPOSITORY / licence, package / licence)


class Wheel(bdist_wheel):
    def finalize_options(self) -> None:
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", platform_tag(library())


class WithLibrary(Distribution):
    def has_ext_modules(self) -> bool:
        return True


setup(version=version(), distclass=WithLibrary, cmdclass={"build_py": Build, "bdist_wheel": Wheel})
