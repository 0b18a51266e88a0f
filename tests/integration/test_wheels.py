"""The five wheels: each builds, installs alone beside what it declares, imports, and its commands start."""

import ast
import json
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib.metadata import distribution, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
SIBLINGS = {
    "maya-data": [],
    "maya-encoder": [],
    "maya-bridge": ["maya-encoder"],
    "maya-eval": [],
    "maya-train": ["maya-encoder", "maya-bridge", "maya-data", "maya-eval"],
}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheels")
    build = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out))
    for package in SIBLINGS:
        subprocess.run((*build, f"packages/{package}"), cwd=ROOT, check=True, capture_output=True)
    return out


@pytest.fixture(scope="module")
def third_party(tmp_path_factory) -> Path:
    """This environment's packages without ours: links to all but the five and what makes them editable."""
    folder = tmp_path_factory.mktemp("third_party")
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.lower().startswith(("maya_", "_editable_impl_maya", "__editable__")):
            (folder / entry.name).symlink_to(entry)
    return folder


def environment(folder: Path, third_party: Path) -> Path:
    """Makes an environment that sees the third-party packages; returns its interpreter."""
    venv.create(folder, with_pip=False)
    site = next((folder / "lib").glob("python*/site-packages"))
    (site / "third_party.pth").write_text(f"{third_party}\n")
    return folder / "bin" / "python"


def project(package: str) -> dict:
    return tomllib.loads((ROOT / "packages" / package / "pyproject.toml").read_text())["project"]


def wheel_of(wheels: Path, package: str) -> Path:
    (wheel,) = wheels.glob(f"{package.replace('-', '_')}-*.whl")
    return wheel


def version(wheels: Path, package: str) -> str:
    return wheel_of(wheels, package).name.split("-")[1]


def contents(wheels: Path, package: str) -> list[str]:
    return zipfile.ZipFile(wheel_of(wheels, package)).namelist()


LOOK = """
import importlib.util, json, sys
from importlib.metadata import distribution

package, *others = sys.argv[1:]
module = importlib.import_module(package.replace("-", "_"))
points = distribution(package).entry_points
for point in points:
    point.load()
print(json.dumps({
    "version": module.__version__,
    "path": module.__file__,
    "others": [name for name in others if importlib.util.find_spec(name)],
    "points": sorted([point.group, point.name, point.value] for point in points),
}))
"""


def declared_entry_points(package: str) -> list[list[str]]:
    groups = project(package).get("entry-points", {}) | {
        "console_scripts": project(package).get("scripts", {})
    }
    return sorted([group, name, value] for group, points in groups.items() for name, value in points.items())


@pytest.mark.parametrize("package", SIBLINGS)
def test_wheel_installs_with_its_siblings_only_and_its_commands_start(package, wheels, third_party, tmp_path):
    """No sibling is named to pip: it takes those that the metadata ask for and whose bounds admit them."""
    python = environment(tmp_path / "env", third_party)
    pip = (sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index")
    done = subprocess.run((*pip, "--find-links", str(wheels), package), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    others = [name.replace("-", "_") for name in SIBLINGS if name not in (package, *SIBLINGS[package])]
    look = (python, "-W", "ignore", "-c", LOOK, package, *others)
    done = subprocess.run(look, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert (seen["version"], seen["others"]) == (version(wheels, package), [])
    assert Path(seen["path"]).is_relative_to(tmp_path / "env")
    assert seen["points"] == declared_entry_points(package)

    for script in project(package).get("scripts", {}):
        command = (python.with_name(script), "--help")
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, f"{script}: {done.stderr}"
        assert "usage" in done.stdout, script


def test_train_wheel_carries_the_configs(wheels):
    names = contents(wheels, "maya-train")
    assert "maya_train/configs/config.yaml" in names
    assert "maya_train/configs/recipe/maya_8xh100.yaml" in names


@pytest.mark.parametrize("package", SIBLINGS)
def test_wheel_carries_licence_and_type_marker(package, wheels):
    names = contents(wheels, package)
    assert f"{package.replace('-', '_')}/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


IMPORT_NAMES = {"pyyaml": "yaml"}
"""Requirement -> module, where they differ."""


def imported(source: Path) -> dict[str, Path]:
    """What a source tree imports from outside the standard library, and a file that does."""
    found = {}
    for path in sorted(source.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            found |= {name.split(".")[0]: path for name in names}
    return {name: path for name, path in found.items() if name not in sys.stdlib_module_names}


@pytest.mark.parametrize("package", SIBLINGS)
def test_every_module_that_the_source_imports_is_declared(package):
    described = project(package)
    extras = [text for texts in described.get("optional-dependencies", {}).values() for text in texts]
    required = [Requirement(text).name.lower() for text in (*described["dependencies"], *extras)]
    known = {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in (package, *required)}
    found = imported(ROOT / "packages" / package / "src")
    assert not {name: str(path) for name, path in found.items() if name not in known}


HEAVY = {"lhotse", "lightning", "pyarrow", "scipy", "torchaudio", "torchmetrics", "transformers"}


def test_encoder_imports_without_any_training_framework(run):
    code = (
        "import sys, maya_encoder; "
        "[getattr(maya_encoder, name) for name in maya_encoder.__all__]; "
        f"heavy = {HEAVY} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr


def needed(package: str) -> set[str]:
    """The distributions that a package asks for, without extras, and those that they ask for."""
    found: set[str] = set()
    waiting = [package]
    while waiting:
        for requirement in map(Requirement, requires(waiting.pop()) or []):
            wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if wanted and requirement.name.lower() not in found:
                found.add(requirement.name.lower())
                waiting.append(requirement.name)
    return found


@pytest.fixture(scope="module")
def bare(tmp_path_factory, wheels) -> Path:
    """The interpreter of an environment with the encoder's wheel and what it asks for: nothing else."""
    folder = tmp_path_factory.mktemp("needed")
    tops = {file.parts[0] for name in needed("maya-encoder") for file in distribution(name).files or ()}
    for top in tops - {"..", "__pycache__"}:
        (folder / top).symlink_to(Path(sysconfig.get_path("purelib")) / top)
    python = environment(tmp_path_factory.mktemp("bare") / "env", folder)
    pip = (sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index")
    subprocess.run((*pip, "--find-links", str(wheels), "maya-encoder"), check=True)
    return python


TINY = """
import io
import numpy, sentencepiece, soundfile
import maya_encoder
from maya_encoder import AcousticModel, AcousticModelConfig, FastConformerConfig
from maya_encoder import CTCConfig, RNNTConfig, TDTConfig

written = io.BytesIO()
sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(["hello world"] * 10), model_writer=written, model_type="char",
    vocab_size=20, hard_vocab_limit=False, unk_id=0, bos_id=-1, eos_id=-1, minloglevel=2,
)
small = {"prediction_size": 8, "joint_size": 8, "max_symbols": 2}
config = AcousticModelConfig(
    langs=["en"],
    encoder=FastConformerConfig(num_layers=1, hidden_size=16, num_heads=2, subsampling_channels=4),
    heads={"ctc": CTCConfig(), "rnnt": RNNTConfig(**small), "tdt": TDTConfig(**small)},
)
AcousticModel(config, maya_encoder.Tokenizer({"asr": written.getvalue()})).save("model")
soundfile.write("a.wav", numpy.random.default_rng(0).normal(0, 0.1, (8000, 2)), 8000)
model = maya_encoder.load("model")
hypotheses = [model.transcribe(["a.wav"], head=head)[0] for head in model.heads]
assert [h.duration for h in hypotheses] == [1.0] * 3, hypotheses
assert [h.head for h in hypotheses] == ["ctc", "rnnt", "tdt"], hypotheses
"""


def test_bare_environment_builds_a_tiny_model_and_transcribes_a_file(bare, tmp_path):
    look = f"import importlib.util as u; print([n for n in {sorted(HEAVY | {'rich'})} if u.find_spec(n)])"
    seen = subprocess.run((bare, "-c", look), capture_output=True, text=True, cwd=tmp_path, check=True)
    assert seen.stdout == "[]\n"

    done = subprocess.run((bare, "-W", "error", "-c", TINY), capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr

    command = (bare.with_name("maya-encoder"), "transcribe", "a.wav", "--model", "model", "--json")
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["file"] == "a.wav"
