"""What must hold before the five packages are published: `make release-check`.

Builds an sdist of each package and its wheel from that sdist (not from the checkout), checks their files,
bounds and changelogs, and installs each into an environment of its own with everything from nothing.
"""

import json
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from email.parser import HeaderParser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = sorted(path.name for path in (ROOT / "packages").glob("maya-*"))
UNWANTED = (".pt", ".ckpt", ".wav", ".tar", ".pyc")
"""No package carries weights, audio or compiled files."""


class NotReady(Exception):
    """A reason not to publish."""


def run(*command: object) -> str:
    """Return what a command writes; its failure is a reason not to publish."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise NotReady(f"{' '.join(map(str, command[:6]))}: {(done.stderr or done.stdout).strip()[-600:]}")
    return done.stdout


def build(package: str, dist: Path) -> tuple[Path, Path]:
    """Build the sdist, and the wheel from it."""
    stem = package.replace("-", "_")
    # Without --sdist or --wheel `build` makes the wheel from the sdist that it has just made.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, f"packages/{package}")
    (sdist,), (wheel,) = dist.glob(f"{stem}-*.tar.gz"), dist.glob(f"{stem}-*.whl")
    return sdist, wheel


def check_files(sdist: Path, wheel: Path) -> None:
    """Nothing is missing in the sdist, nothing heavy or foreign in either."""
    with tarfile.open(sdist) as source, zipfile.ZipFile(wheel) as built:
        sdist_names, wheel_names = source.getnames(), built.namelist()
    for needed in ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "PKG-INFO"):
        if not any(name.endswith(f"/{needed}") for name in sdist_names):
            raise NotReady(f"{sdist.name} has no {needed}")
    if unwanted := [name for name in (*sdist_names, *wheel_names) if name.endswith(UNWANTED)]:
        raise NotReady(f"{wheel.name} carries {unwanted[:3]}")


def metadata(wheel: Path) -> dict[str, list[str]]:
    """Return the wheel's headers."""
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    message = HeaderParser().parsestr(archive.read(name).decode())
    return {key: message.get_all(key, []) for key in ("Version", "Requires-Dist", "Description-Content-Type")}


def check_bounds(package: str, found: dict[str, list[str]], versions: dict[str, Version]) -> None:
    """Siblings are bounded on both sides and admit each other; every other requirement has a lower bound."""
    for requirement in map(Requirement, found["Requires-Dist"]):
        operators = {part.operator for part in requirement.specifier}
        if not operators & {">=", "==", "~="}:
            raise NotReady(f"{package} asks for {requirement} without a lower bound")
        if requirement.name in versions:
            if "<" not in operators:
                raise NotReady(f"{package} asks for {requirement} without an upper bound")
            if not requirement.specifier.contains(versions[requirement.name]):
                raise NotReady(f"{package} asks for {requirement}, not {versions[requirement.name]}")


def check_changelog(package: str, version: Version) -> None:
    """The newest heading of the changelog is the version and has a date."""
    text = (ROOT / "packages" / package / "CHANGELOG.md").read_text(encoding="utf-8")
    heading = re.search(r"^## \[(.+?)\](.*)$", text, re.MULTILINE)
    if heading is None or Version(heading[1]) != version:
        raise NotReady(f"CHANGELOG.md of {package} starts with {heading and heading[1]}, not {version}")


LOOK = """
import importlib, json, sys
from importlib.metadata import distribution
name = sys.argv[1]
module = importlib.import_module(name.replace("-", "_"))
[getattr(module, public) for public in getattr(module, "__all__", ())]
points = distribution(name).entry_points
[point.load() for point in points]
assert module.__version__ == distribution(name).version, module.__version__
print(json.dumps([point.name for point in points if point.group == "console_scripts"]))
"""


def install(package: str, dist: Path, folder: Path) -> list[str]:
    """Install a package into a new environment; import it, load its plugins, start its commands."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", "constraints.txt")
    run(*pip, "--find-links", dist, package)
    run(python, "-m", "pip", "check")
    commands: list[str] = json.loads(run(python, "-W", "ignore", "-c", LOOK, package).splitlines()[-1])
    for command in commands:
        run(python.with_name(command), "--help")
    return commands


def row(package: str, files: tuple[Path, Path], versions: dict[str, Version], folder: Path) -> list[str]:
    """Check one package; return its cells after name and version."""
    sdist, wheel = files
    check_files(sdist, wheel)
    check_bounds(package, metadata(wheel), versions)
    check_changelog(package, versions[package])
    commands = install(package, wheel.parent, folder)
    sizes = [f"{path.stat().st_size / 1024:.0f} KiB" for path in files]
    return [*sizes, " ".join(commands), "[green]ready"]


def main() -> int:
    """Check all, print a table; 1 where something is not ready."""
    console, failures = Console(), 0
    table = Table("package", "version", "sdist", "wheel", "commands", "verdict", title="release check")
    with tempfile.TemporaryDirectory(prefix="maya-release-") as temporary, console.status("building") as now:
        files = {package: build(package, Path(temporary) / "dist") for package in PACKAGES}
        versions = {package: Version(metadata(files[package][1])["Version"][0]) for package in PACKAGES}
        for package in PACKAGES:
            now.update(f"installing {package} from nothing")
            try:
                cells = row(package, files[package], versions, Path(temporary) / package)
            except NotReady as reason:
                failures += 1
                cells = ["", "", "", f"[red]{reason}"]
            table.add_row(package, str(versions[package]), *cells)
    console.print(table)
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
