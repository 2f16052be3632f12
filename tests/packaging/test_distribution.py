"""The distribution on PyPI: its name, the contents of the wheel and sdist, and its commands."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from typing import TYPE_CHECKING

import pytest

from serd.version import VERSION
from tests.layer import TREE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = pytest.mark.slow  # they build a wheel

PARTS = ("benchmarks", "docs", "examples", "packaging", "serd", "systemd", "tests", "tools",
         "training")  # fmt: skip
FILES = (".pre-commit-config.yaml", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "MANIFEST.in",
         "Makefile", "README.md", "config.yaml", "install.sh", "pyproject.toml")  # fmt: skip


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source tree, because building leaves files beside it."""
    folder = tmp_path_factory.mktemp("source") / "serd"
    folder.mkdir()
    leave_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for part in PARTS:
        shutil.copytree(TREE / part, folder / part, ignore=leave_out)
    for name in FILES:
        shutil.copy(TREE / name, folder)
    return folder


@pytest.fixture(scope="session")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the sdist; the wheel is built from the sdist, as `build` does it."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(source))
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="session")
def installed(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel installed into its own folder; its dependencies come from this environment."""
    folder = tmp_path_factory.mktemp("site")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _run(*pip, "--no-deps", "--no-index", "--target", str(folder), str(built[0]))
    return folder


def test_the_names_of_wheel_and_sdist(built: tuple[Path, Path]) -> None:
    wheel, sdist = built
    assert wheel.name == f"serd_emotion-{VERSION}-py3-none-any.whl"
    assert sdist.name == f"serd_emotion-{VERSION}.tar.gz"


def test_only_serd_goes_into_site_packages(built: tuple[Path, Path]) -> None:
    names = zipfile.ZipFile(built[0]).namelist()
    assert {name.partition("/")[0] for name in names} == {
        "serd", f"serd_emotion-{VERSION}.dist-info",
    }  # fmt: skip


def test_the_wheel_has_every_file_of_the_package(built: tuple[Path, Path], source: Path) -> None:
    inside = {name for name in zipfile.ZipFile(built[0]).namelist() if name.startswith("serd/")}
    expected = {
        str(path.relative_to(source))
        for path in (source / "serd").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert inside == expected


def test_the_sdist_contains_the_whole_source(built: tuple[Path, Path], source: Path) -> None:
    with tarfile.open(built[1]) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    expected = {
        str(path.relative_to(source))
        for path in source.rglob("*")
        if path.is_file() and ".egg-info" not in str(path) and "build/" not in str(path)
    }
    assert expected - inside == set()


def test_the_wheel_declares_the_extras(built: tuple[Path, Path]) -> None:
    archive = zipfile.ZipFile(built[0])
    about = email.message_from_bytes(archive.read(f"serd_emotion-{VERSION}.dist-info/METADATA"))
    project = tomllib.loads((TREE / "pyproject.toml").read_text())["project"]
    assert about["Name"] == "serd-emotion"
    assert set(about.get_all("Provides-Extra", [])) == set(project["optional-dependencies"])


def test_upload_tools_accept_wheel_and_sdist(built: tuple[Path, Path]) -> None:
    _run(sys.executable, "-m", "twine", "check", "--strict", *map(str, built))
    _run(sys.executable, "-m", "check_wheel_contents", str(built[0]))


def test_the_wheel_works_without_the_source(installed: Path, tmp_path: Path) -> None:
    code = "import serd; print(serd.__file__, serd.__version__, serd.Classifier.load().info.name)"
    output = _python(installed, tmp_path, "-c", code).stdout.split()
    assert output == [str(installed / "serd" / "__init__.py"), VERSION, "default"]


def test_serd_train_says_that_it_needs_the_source_tree(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "training" / "cli").mkdir(parents=True)  # of another project
    (tmp_path / "training" / "cli" / "main.py").write_text("raise SystemExit('not ours')\n")
    done = _python(installed, tmp_path, str(installed / "bin" / "serd-train"), "--help")
    assert done.returncode == 69
    assert "source tree" in done.stderr
    assert "make setup-test" in done.stderr


def test_serd_train_works_in_a_clone(source: Path, tmp_path: Path) -> None:
    code = "import sys; from serd.cli.main import train; sys.argv = ['serd-train', '--version']"
    done = _python(source, tmp_path, "-c", f"{code}; train()")
    assert done.stdout == f"serd-train, version {VERSION}\n", done.stderr


def test_a_script_beside_the_clone_finds_the_package(source: Path) -> None:
    # The folder of the clone has the package's name, and Python looks beside the script first.
    script = source.parent / "mine.py"
    script.write_text("from serd import Classifier\nprint(Classifier.__name__)\n")
    site = source.parent / "site"
    site.mkdir()
    name = "__editable__.pth"  # what `pip install --editable` writes, see the next test
    (site / name).write_text(f"{source}\n")
    code = f"import site, sys; site.addsitedir({str(site)!r}); sys.path.insert(0, sys.argv[1])"
    run = f"{code}; import runpy; runpy.run_path(sys.argv[2])"
    done = subprocess.run(
        [sys.executable, "-c", run, str(source.parent), str(script)],
        cwd=source.parent, env=_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "Classifier\n", done.stderr


def test_an_editable_installation_is_a_path(source: Path, tmp_path: Path) -> None:
    # An import finder, setuptools' alternative, would be tried after the script's own folder.
    code = (
        "import setuptools.build_meta as backend, sys;"
        "print('wheel:', backend.build_editable(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=source, env=_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    archive = zipfile.ZipFile(wheel)
    (path,) = (name for name in archive.namelist() if name.endswith(".pth"))
    assert archive.read(path).decode().strip() == str(source)


PAGES = [TREE / "README.md", *sorted((TREE / "docs").glob("*.md"))]


def test_no_text_installs_the_unrelated_package_serd() -> None:
    texts = [*PAGES, TREE / "config.yaml", *(TREE / "serd").rglob("*.py")]
    wrong = re.compile(r"(pipx?|uv tool) install (-\S+ )*['\"]?serd(?![\w-])|(?<![\w-])serd\[[a-z]")
    assert [path.name for path in texts if wrong.search(path.read_text())] == []


def _environment() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _python(first: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env={**_environment(), "PYTHONPATH": str(first)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
