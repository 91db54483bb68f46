"""docs/appliance.md names every key, command and reason; the example is a configuration."""

import re
from pathlib import Path
from typing import get_args, get_origin

from pydantic import BaseModel

from nsdata.appliance.settings import ApplianceSettings
from nsdata.cli.appliance import app
from nsdata.fallback.ledger import Why

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "appliance.md").read_text(encoding="utf-8")
MONITORING = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
SUPPORT = (ROOT / "docs" / "support-report.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([\w.-]+)` \| (.*?) \|", PAGE + MONITORING + SUPPORT, re.M))


def keys(model: type[BaseModel], above: str = "") -> dict[str, object]:
    """Every key of the file, dotted, with its default."""
    found: dict[str, object] = {}
    for name, field in model.model_fields.items():
        kinds = [kind for kind in get_args(field.annotation) if isinstance(kind, type)]
        kind = next((kind for kind in kinds if issubclass(kind, BaseModel)), field.annotation)
        name = field.alias or name
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            named = "NAME." if get_origin(field.annotation) is dict else ""
            found.update(keys(kind, f"{above}{name}.{named}"))
        else:
            found[above + name] = None if field.is_required() else field.default
    return found


def test_every_key_is_there_with_its_default() -> None:
    for name, default in keys(ApplianceSettings).items():
        told = ROWS[name].strip("`")
        default = list(default) if isinstance(default, tuple) else default
        if default in (None, {}) or (default == [] and told == "–"):
            assert told == "–", name
        else:
            said = str(default).lower() if isinstance(default, bool) else str(default)
            said = said.replace("'", '"') if isinstance(default, list) else said
            assert told in (said, said.removesuffix(".0")), name


def test_every_command_is_there() -> None:
    named = {command.name or command.callback.__name__ for command in app.registered_commands
             if command.callback}  # fmt: skip
    for name in named - {"run"}:
        assert re.search(rf"^\| `{name}\b", PAGE, re.M), name


def test_reasons_of_the_ledger_have_the_fate_they_have() -> None:
    own = (Why.WORKER, Why.SHARE, Why.BEST_EFFORT, Why.FALLBACK_BLOCK, Why.PORT)
    for why in own:
        assert f"| {why.token} | {why.fate.token} |" in PAGE


def test_the_example_is_a_configuration() -> None:
    for name in ("appliance.toml", "monitoring.toml"):
        found = ApplianceSettings.load(ROOT / "examples" / "appliance" / name)
        assert all(Path(path).is_file() for path in [*found.rules, *found.source.captures])
