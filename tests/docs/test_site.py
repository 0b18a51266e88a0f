"""The site builds without a warning, leads nowhere that is not there, and its reference misses no plugin.

Its commands are run by tests/integration/test_readme.py and, for the page on data, tests/data/test_readme.py.
"""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytest.importorskip("material")
pytest.importorskip("mkdocstrings_handlers.python")

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("**/*.md"))
READMES = [ROOT / "README.md", *ROOT.glob("packages/*/README.md")]
KINDS = ("readers", "encoders", "heads", "projectors", "strategies", "transcribers")
LAZY = ("maya_data", "maya_encoder", "maya_bridge")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site; MkDocs' own strict mode refuses every warning."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    yield folder
    shutil.rmtree(folder)


class Links(HTMLParser):
    """What a page refers to and what it can be referred to by."""

    def __init__(self, page):
        super().__init__()
        self.to, self.loads, self.ids = [], [], set()
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if "id" in found:
            self.ids.add(found["id"])
        if tag == "a" and found.get("href"):
            self.to.append(found["href"])
        if tag in ("script", "img", "link", "source", "iframe"):
            self.loads += [found[name] for name in ("src", "href") if found.get(name)]


def test_every_internal_link_leads_to_a_page_and_a_place_on_it(site):
    pages = {path.resolve(): Links(path) for path in site.glob("**/*.html") if path.name != "404.html"}
    lost = []
    for path, links in pages.items():
        for link in links.to + links.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            there = target in pages and (not parts.fragment or unquote(parts.fragment) in pages[target].ids)
            if not there and not (target.is_file() and target.suffix != ".html"):
                lost.append(f"{path.relative_to(site.resolve())} -> {link}")
    assert len(pages) > 15
    assert lost == []


def test_no_page_loads_anything_from_another_host(site):
    away = [link for path in site.glob("**/*.html") for link in Links(path).loads if "//" in link]
    assert away == []


def test_every_page_is_in_the_menu(site):
    menu = {urlsplit(link).path for link in Links(site / "index.html").to}
    for page in PAGES:
        name = page.relative_to(DOCS).with_suffix("").as_posix()
        assert name == "index" or f"{name}/" in menu, name


@pytest.mark.parametrize("kind", KINDS)
def test_every_plugin_of_ours_is_in_the_reference(kind):
    text = (DOCS / "configuration.md").read_text("utf-8")
    ours = {point.value for point in entry_points(group=f"maya.{kind}") if point.value.startswith("maya_")}
    assert ours
    assert ours <= set(re.findall(r"^::config (\S+)$", text, re.MULTILINE))


def test_every_section_of_a_run_is_in_the_reference():
    text = (DOCS / "configuration.md").read_text("utf-8")
    listed = {name.rpartition(":")[2] for name in re.findall(r"^::config (\S+)$", text, re.MULTILINE)}
    schema = "".join(
        (ROOT / "packages/maya-train/src/maya_train" / name).read_text("utf-8")
        for name in ("schema.py", "data_config.py")
    )
    named = set(re.findall(r"\b[A-Z]\w*Config\b", schema)) - {"DictConfig"}
    assert len(named) > 10
    assert named <= listed


def test_the_reference_has_every_field_and_what_it_means(site):
    page = re.sub(r"<[^>]+>", " ", (site / "configuration/index.html").read_text("utf-8"))
    for words in ("Optimizer steps.", "spike_factor", "max_waiting_seconds", "Steps in a row that may be"):
        assert words in page
    assert "::config" not in page


@pytest.mark.parametrize("package", LAZY)
def test_every_public_name_has_its_place_on_the_api_page(site, package):
    module = __import__(package)
    ids = Links(site / f"api/{package}/index.html").ids
    missing = [
        name
        for name in module.__all__
        if not name.startswith("__") and not any(found.endswith(f".{name}") for found in ids)
    ]
    assert missing == []


def test_every_python_block_is_one_of_a_readme():
    """Those of the READMEs are run by the packages' tests; examples come from their own files."""
    shown = "".join(path.read_text("utf-8") for path in READMES)
    for page in PAGES:
        for block in re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE):
            assert block in shown, f"{page.name}: {block[:60]}"


def test_every_benchmark_is_on_the_page_with_its_command(site):
    page = re.sub(r"<[^>]+>", "", (site / "benchmarks/index.html").read_text("utf-8"))
    scripts = {path.name for path in (ROOT / "benchmarks").glob("*.py")}
    assert set(re.findall(r"benchmarks/(\w+\.py)", page)) <= scripts
    assert [name for name in sorted(scripts) if name not in page] == []


def test_every_picture_is_small_shown_and_made_by_the_script():
    shown = "".join(page.read_text("utf-8") for page in PAGES)
    script = (DOCS / "make_pictures.py").read_text("utf-8")
    pictures = list((DOCS / "pictures").iterdir())
    assert pictures
    for path in pictures:
        assert path.stat().st_size < 150 * 1024
        assert f"pictures/{path.name})" in shown
        assert f'"{path.stem}")' in script
