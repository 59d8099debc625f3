"""``sdr2hdr completion``: what a shell needs to complete commands, options and their values."""

import click

from sdr2hdr.cli.screen import show_text

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script for SHELL: commands, options, models and files.

    \b
    Examples:
      echo 'eval "$(sdr2hdr completion bash)"' >> ~/.bashrc
      echo 'eval "$(sdr2hdr completion zsh)"' >> ~/.zshrc
      sdr2hdr completion fish > ~/.config/fish/completions/sdr2hdr.fish
    """
    from click.shell_completion import get_completion_class

    from sdr2hdr.cli.commands import cli

    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"click knows no completion for {shell}.")
    show_text(made(cli, {}, "sdr2hdr", "_SDR2HDR_COMPLETE").source() + "\n")
