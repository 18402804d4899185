"""``neuralforge plugins``: what other packages add, and what is wrong with it."""

from neuralforge.cli.options import Json
from neuralforge.cli.present import line, show_json, table


def plugins(as_json: Json = False) -> None:
    """List installed plugins and what is wrong with them."""
    from dataclasses import asdict

    from neuralforge.plugins import GROUPS, discover

    found = [plugin for group in GROUPS for plugin in discover(group)]
    if as_json:
        show_json([{k: v for k, v in asdict(plugin).items() if k != "value"} for plugin in found])
        return
    if not found:
        line("No plugins are installed.")
        return
    table(
        ["Group", "Name", "Package", "Version", "State"],
        [(p.group, p.name, p.distribution, p.version, p.error or "ok") for p in found],
    )
