"""Separately versioned packages that admit each other, and whose metadata says what is true."""

import re
import tomllib
from importlib import import_module
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = sorted(path.name for path in (ROOT / "packages").glob("maya-*"))


def project(package: str) -> dict:
    return tomllib.loads((ROOT / "packages" / package / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("package", PACKAGES)
def test_top_heading_of_the_changelog_is_the_version(package):
    text = (ROOT / "packages" / package / "CHANGELOG.md").read_text()
    heading = re.search(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert heading[1] == import_module(package.replace("-", "_")).__version__


@pytest.mark.parametrize("package", PACKAGES)
def test_sibling_bounds_admit_the_siblings(package):
    for requirement in map(Requirement, requires(package) or []):
        if requirement.name in PACKAGES:
            version = import_module(requirement.name.replace("-", "_")).__version__
            assert requirement.specifier.contains(version), requirement
            assert "<" in str(requirement.specifier), f"{requirement} has no upper bound"
            assert "==" not in str(requirement.specifier)


@pytest.mark.parametrize("package", PACKAGES)
def test_licence_is_apache_and_travels_with_the_package(package):
    assert project(package)["license"] == "Apache-2.0"
    assert (ROOT / "packages" / package / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_encoder_depends_on_nothing_but_its_declared_few():
    names = {Requirement(text).name for text in project("maya-encoder")["dependencies"]}
    few = {"torch", "numpy", "safetensors", "omegaconf", "sentencepiece", "soundfile", "soxr"}
    assert names == few | {"pyyaml"}  # which omegaconf brings along, and which NeMo's configs are read with


@pytest.mark.parametrize("package", PACKAGES)
def test_the_readme_s_table_says_version_and_dependencies(package):
    row = re.search(rf"^\| \[{package}\].*$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)[
        0
    ]
    _, _, version, _, needed, _, _ = (cell.strip() for cell in row.split("|"))
    assert version == import_module(package.replace("-", "_")).__version__
    names = {Requirement(text).name for text in project(package)["dependencies"]}
    if package == "maya-train":
        needed = needed.replace("the four above", ", ".join(set(PACKAGES) - {package}))
    assert set(re.split(r"[,;] ", needed)) == names
