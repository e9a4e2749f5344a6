"""What is installed is what is in the repository, under the right names, and light to import."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import adaptive_spec

ROOT = Path(__file__).resolve().parent.parent
REMAPPED = ("policies", "simulations")
PACKAGE_DATA = ("*.json", "*.jsonl", "*.toml", "py.typed", "*.safetensors", "README.md", "assets/*")
HEAVY = (
    *("torch", "transformers", "pyarrow", "typer", "rich", "hypothesis", "numba", "llvmlite"),
    *("prometheus_client", "opentelemetry", "vllm", "sglang", "matplotlib"),
)


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def sources() -> dict[str, Path]:
    """Real folder of each part of the package, by its dotted name."""
    return {"adaptive_spec": ROOT / "adaptive_spec"} | {
        f"adaptive_spec.{name}": ROOT / name for name in REMAPPED
    }


def real_files(folder: Path, pattern: str) -> list[Path]:
    """Files below a folder; those reached through a link count once, where they are."""
    return sorted(
        path
        for path in folder.rglob(pattern)
        if not any(p.is_symlink() for p in (path, *path.parents) if p.is_relative_to(folder))
    )


def installed_files(pattern: str) -> set[str]:
    """Paths within site-packages that the repository's files should have."""
    return {
        Path(*name.split("."), path.relative_to(folder)).as_posix()
        for name, folder in sources().items()
        for path in real_files(folder, pattern)
    }


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def test_the_package_list_names_every_package(pyproject: dict[str, Any]) -> None:
    found = {module_name(path) for path in installed_files("__init__.py")}
    assert sorted(pyproject["tool"]["setuptools"]["packages"]) == sorted(found)


def test_every_module_lies_in_a_package() -> None:
    packages = {str(Path(path).parent) for path in installed_files("__init__.py")}
    stray = [path for path in installed_files("*.py") if str(Path(path).parent) not in packages]
    assert not stray, "these would not be installed; their folder lacks an __init__.py"


@pytest.mark.parametrize("name", REMAPPED)
def test_the_links_for_static_tools_are_links(name: str) -> None:
    link = ROOT / "adaptive_spec" / name
    if not link.exists() and not (ROOT / ".git").exists():
        pytest.skip("source archives carry no links, and builds do not need them")
    assert link.is_symlink(), f"{link} must be a link to ../{name}, not a copy"
    assert link.readlink() == Path("..", name)


@pytest.mark.parametrize("name", REMAPPED)
def test_the_remapped_folders_cannot_be_imported_under_a_second_name(name: str) -> None:
    done = run_python(f"import {name}", cwd=ROOT)
    assert done.returncode != 0
    assert f"must be imported as adaptive_spec.{name}" in done.stderr


def test_the_version_is_the_changelog_s_newest() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\d+\.\d+\.\d+)", changelog, flags=re.MULTILINE)
    assert newest
    assert newest[1] == adaptive_spec.__version__


def test_everything_public_is_there() -> None:
    assert len(set(adaptive_spec.__all__)) == len(adaptive_spec.__all__)
    missing = [name for name in adaptive_spec.__all__ if not hasattr(adaptive_spec, name)]
    assert not missing


def test_every_requirement_is_pinned(pyproject: dict[str, Any]) -> None:
    pins = re.findall(
        r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    pinned = {normal(name) for name in pins}
    project = pyproject["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    required = {normal(re.split(r"[\[<>=~!; ]", text)[0]) for texts in lists for text in texts}
    assert required - {"adaptive-spec"} <= pinned


def normal(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def run_python(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def heavy_imports(modules: list[str], cwd: Path) -> set[str]:
    """Which of the heavy libraries a fresh interpreter loads with these modules."""
    code = "\n".join(
        (
            "import importlib, sys",
            f"for name in {modules!r}:",
            "    importlib.import_module(name)",
            f"print(*(name for name in {HEAVY!r} if name in sys.modules))",
        )
    )
    done = run_python(code, cwd)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_the_package_is_light(tmp_path: Path) -> None:
    assert heavy_imports(["adaptive_spec"], tmp_path) == set()


def test_importing_all_but_decoder_commands_and_strategies_is_light(tmp_path: Path) -> None:
    heavy_parts = tuple(
        f"adaptive_spec.{part}"
        for part in (
            "decoding",
            "distillation",
            "integrations.transformers",
            "integrations.vllm.scheduler",
            "cli",
            "testing",
            "policies._kernels",
        )
    )
    modules = [module_name(path) for path in sorted(installed_files("*.py"))]
    light = [name for name in modules if not name.startswith(heavy_parts)]
    assert "adaptive_spec.policies.fixed" in light
    assert heavy_imports(light, tmp_path) == set()


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The source archive of the repository, and the wheel built from that archive."""
    pytest.importorskip("build")
    pytest.importorskip("setuptools")
    copy, out = tmp_path_factory.mktemp("source") / "copy", tmp_path_factory.mktemp("dist")
    ignored = shutil.ignore_patterns(
        ".*cache", ".git", ".venv*", "__pycache__", "build", "*.egg-info"
    )
    shutil.copytree(ROOT, copy, symlinks=True, ignore=ignored)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(copy)]
    done = subprocess.run(command, cwd=out, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {"sdist": next(out.glob("*.tar.gz")), "wheel": next(out.glob("*.whl"))}


def test_the_wheel_holds_every_module_and_data_file_under_one_name(
    archives: dict[str, Path],
) -> None:
    with zipfile.ZipFile(archives["wheel"]) as wheel:
        names = set(wheel.namelist())
    top = {name.partition("/")[0] for name in names}
    assert top == {"adaptive_spec", f"adaptive_spec-{adaptive_spec.__version__}.dist-info"}
    expected = set().union(*(installed_files(p) for p in ("*.py", *PACKAGE_DATA)))
    assert {name for name in names if name.startswith("adaptive_spec/")} == expected


def test_the_wheel_declares_the_command_and_the_policies(archives: dict[str, Path]) -> None:
    with zipfile.ZipFile(archives["wheel"]) as wheel:
        [path] = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
        text = wheel.read(path).decode()
    assert "adaptive-spec = adaptive_spec.cli:main" in text
    for path in installed_files("*.py"):
        if re.fullmatch(r"adaptive_spec/policies/[a-z]\w*\.py", path):
            assert module_name(path) in text, f"{path} is not among the entry points"


def test_the_source_archive_holds_the_tests_and_no_leftovers(archives: dict[str, Path]) -> None:
    with tarfile.open(archives["sdist"]) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers()}
    tests = {path.relative_to(ROOT).as_posix() for path in real_files(ROOT / "tests", "*.py")}
    assert tests <= names
    for name in ("LICENSE", "CHANGELOG.md", "Makefile", "constraints.txt", ".ci/run"):
        assert name in names
    assert not [name for name in names if "__pycache__" in name or name.startswith(".venv")]
