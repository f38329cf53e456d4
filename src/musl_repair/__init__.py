"""Turn a wheel built on musl Linux into a musllinux wheel that loads everywhere its tag says.

The public API: `repair_wheel`, `plan_wheel` and `check_wheel`, the values that they take and give, and the root of
their errors. Names are loaded when they are asked for, so that `import musl_repair` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from musl_repair.check import Judgement, Leniency
    from musl_repair.errors import MuslRepairError
    from musl_repair.findings import Finding, Severity
    from musl_repair.options import Options
    from musl_repair.plan import Plan
    from musl_repair.repair import Repaired, Tools, check_wheel, plan_wheel, repair_wheel
    from musl_repair.sysroot import Sysroot

__version__ = "0.1.0"

__all__ = [
    "Finding",
    "Judgement",
    "Leniency",
    "MuslRepairError",
    "Options",
    "Plan",
    "Repaired",
    "Severity",
    "Sysroot",
    "Tools",
    "__version__",
    "check_wheel",
    "plan_wheel",
    "repair_wheel",
]

_HOMES = {
    "Finding": "findings",
    "Judgement": "check",
    "Leniency": "check",
    "MuslRepairError": "errors",
    "Options": "options",
    "Plan": "plan",
    "Repaired": "repair",
    "Severity": "findings",
    "Sysroot": "sysroot",
    "Tools": "repair",
    "check_wheel": "repair",
    "plan_wheel": "repair",
    "repair_wheel": "repair",
}


def __getattr__(name: str) -> object:
    """Load a public name from the module that makes it (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"musl_repair.{_HOMES[name]}"), name)
