"""`cutover schema`: the plan's JSON schema, for editors and for whatever writes plans."""

from __future__ import annotations

import click

from console.output import command_body, emit_json, json_option


@click.command(
    "schema",
    epilog="Example: cutover schema > plan.schema.json\n\n"
    "An editor with a YAML language server completes and checks a plan that begins with the line\n"
    "`# yaml-language-server: $schema=plan.schema.json`.",
)
@json_option
@command_body
def command(as_json: bool) -> int:
    """Print the plan's JSON schema (draft 2020-12). It is JSON with and without --json."""
    from backends.plan.schema import plan_schema

    emit_json(plan_schema())
    return 0
