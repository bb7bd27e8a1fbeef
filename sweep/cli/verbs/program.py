"""The verbs that are about this program and this machine."""

from __future__ import annotations

import click
from click.shell_completion import shell_complete

from sweep.cli.verbs.group import sweep
from sweep.errors import EXIT_OK, EXIT_SOME_FAILED


def _complete_topic(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from sweep.cli.docs import topics

    return [topic for topic in topics() if topic.startswith(incomplete)]


@sweep.command(epilog="For example: sweep docs operations")
@click.argument("topic", required=False, shell_complete=_complete_topic)
def docs(topic: str | None) -> None:
    """Show a page of the documentation; without a TOPIC list the topics."""
    from sweep.cli.docs import list_topics, show_topic

    if topic is None:
        list_topics()
    else:
        show_topic(topic)


@sweep.command(epilog="For example: sweep schema > study.schema.json")
def schema() -> None:
    """Print the JSON schema of the study file, with which editors complete and check it.

    Save it with sweep schema > study.schema.json and begin a study file with the line
    # yaml-language-server: $schema=study.schema.json
    """
    from sweep.cli.tables import print_json
    from sweep.study.file.json_schema import json_schema

    print_json(json_schema())


@sweep.command(epilog="For example: sweep completion bash")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the code with which a shell completes verbs, options and studies.

    In ~/.bashrc: eval "$(sweep completion bash)"

    In ~/.zshrc, after compinit: eval "$(sweep completion zsh)"

    For fish: sweep completion fish > ~/.config/fish/completions/sweep.fish
    """
    shell_complete(sweep, {}, "sweep", "_SWEEP_COMPLETE", f"{shell}_source")


@sweep.command(epilog="For example: sweep doctor")
@click.option("--ray", metavar="ADDRESS", help="Check the nodes of this Ray cluster (auto, HOST:PORT) instead.")
def doctor(ray: str | None) -> int:
    """Check this machine: devices, torch and torchvision, the data set, TensorBoard."""
    if ray is not None:
        from sweep.cli.doctor_cluster import examine_cluster

        return EXIT_OK if examine_cluster(ray) else EXIT_SOME_FAILED
    from sweep.cli.doctor import examine

    return EXIT_OK if examine() else EXIT_SOME_FAILED
