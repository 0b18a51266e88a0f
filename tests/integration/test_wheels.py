"""The five wheels: each builds, installs alone beside what it declares, and imports."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SIBLINGS = {
    "maya-data": [],
    "maya-encoder": [],
    "maya-bridge": ["maya-encoder"],
    "maya-eval": [],
    "maya-train": ["maya-encoder", "maya-bridge", "maya-data", "maya-eval"],
}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("wheels")
    build = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out))
    for package in SIBLINGS:
        subprocess.run((*build, f"packages/{package}"), cwd=ROOT, check=True, capture_output=True)
    return {path.name.split("-")[0].replace("_", "-"): path for path in out.glob("*.whl")}


@pytest.fixture(scope="module")
def third_party(tmp_path_factory) -> Path:
    """This environment's packages without ours: links to all but the five and what makes them editable."""
    folder = tmp_path_factory.mktemp("third_party")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.lower().startswith(("maya_", "_editable_impl_maya", "__editable__")):
            (folder / entry.name).symlink_to(entry)
    return folder


@pytest.mark.parametrize("package", SIBLINGS)
def test_wheel_installs_alone_and_imports(package, wheels, third_party, tmp_path):
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    site = next((tmp_path / "env" / "lib").glob("python*/site-packages"))
    (site / "third_party.pth").write_text(f"{third_party}\n")
    for name in (package, *SIBLINGS[package]):
        with zipfile.ZipFile(wheels[name]) as wheel:
            wheel.extractall(site)
    module = package.replace("-", "_")
    others = [name.replace("-", "_") for name in SIBLINGS if name not in (package, *SIBLINGS[package])]
    code = (
        f"import importlib.util, {module}; print({module}.__version__, {module}.__file__); "
        f"assert not any(importlib.util.find_spec(name) for name in {others})"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    version, path = done.stdout.split()
    assert version == "0.1.0"
    assert Path(path).is_relative_to(tmp_path)


def test_train_wheel_carries_the_configs(wheels):
    names = zipfile.ZipFile(wheels["maya-train"]).namelist()
    assert "maya_train/configs/config.yaml" in names
    assert "maya_train/configs/recipe/maya_8xh100.yaml" in names


@pytest.mark.parametrize("package", SIBLINGS)
def test_wheel_carries_licence_and_type_marker(package, wheels):
    names = zipfile.ZipFile(wheels[package]).namelist()
    assert f"{package.replace('-', '_')}/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_encoder_imports_without_any_training_framework(run):
    code = (
        "import sys, maya_encoder; "
        "heavy = {'transformers', 'lightning', 'lhotse', 'pyarrow', 'torchmetrics'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
