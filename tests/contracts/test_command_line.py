"""The command line is a promise: options are added on purpose, and none goes away unseen."""

import typer.main

from mutoscope.cli.main import app

FROZEN = {
    "generate": (
        "prompt --model --lora --out --prompts --negative --seed --num-videos --steps --guidance "
        "--noise-level --size --num-frames --seconds --image --stages --still --fps --sheet "
        "--device --dtype --memory --compile --max-quality-loss"
    ),
    "plan": "--model --size --num-frames --seconds --stages --memory --device --dtype",
    "replay": "file",
    "continue": "file --out",
    "interpolate": "file --prompt --model --out --size --seed --fps --device --dtype --memory",
    "upscale": (
        "file --prompt --model --out --size --noise-level --seed --fps --device --dtype --memory"
    ),
    "inspect": "file",
    "personalize": "pictures --name --out --model --like --steps --device",
    "evaluate": "--out --model --split --prompts --seeds",
    "convert": "--out system --from --base --interpolation --upscale --sd --x4",
    "train": "recipes --out --data --device --minutes --shipped --as-shipped --dry-run",
}


def test_commands_and_options_are_the_frozen_ones() -> None:
    group = typer.main.get_command(app)
    found = {
        name: " ".join(option.opts[0] for option in command.params if option.opts[0] != "--help")
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }
    assert found == FROZEN
