"""The shipped cascade goes on with anyone's own footage, stage by stage.

Command: `mutoscope train own:base own:interpolation own:super_resolution --data FOLDER --out RUNS
--shipped`, or one of these, with `--minutes` for each. FOLDER holds videos, and beside each
`NAME.mp4` a caption `NAME.txt`. Then `python -m mutoscope.recipes.ship RUNS MODELS` gathers what
was trained and what was shipped, for `mutoscope generate --model MODELS/lavie`. What the runs are
worth on footage that they never saw: `python -m benchmarks.own_footage`.

The autoencoders and the text encoder stay as they are: they know the world, and little of films.
"""

from dataclasses import replace

from mutoscope.recipes import mini
from mutoscope.recipes.first_frame import FirstFrameTask
from mutoscope.recipes.interpolation import InterpolationTask
from mutoscope.recipes.super_resolution import SuperResolutionTask
from mutoscope.training.optim import Muon, Schedule
from mutoscope.training.recipe import Recipe, Task


def base() -> Recipe:
    """The base model, on whole clips; it goes on being told first frames."""
    task = mini.first_frame().task
    assert isinstance(task, FirstFrameTask)
    learned = replace(
        task, clips=1, images_per_clip=0, batch_size=4, stride=1, time_shift=2.0, samples=4
    )
    return _own("base", learned, mini.autoencoder(), mini.words(), mini.first_frame())


def interpolation() -> Recipe:
    """The temporal interpolation."""
    task = InterpolationTask(batch_size=4, backwards=0.5, samples=4)
    parents = mini.autoencoder(), mini.words(), mini.interpolation()
    # Larger steps teach no more (docs/claims.md).
    return _own("interpolation", task, *parents, lr=3e-4)


def super_resolution() -> Recipe:
    """The video super-resolution, its layers over time."""
    task = mini.super_resolution().task
    assert isinstance(task, SuperResolutionTask)
    learned = replace(task, batch_size=2)
    parents = mini.autoencoder4(), mini.words(), mini.super_resolution()
    return _own("super_resolution", learned, *parents)


def _own(name: str, task: Task, *parents: Recipe, lr: float = 5e-4) -> Recipe:
    """Small steps, so that little footage does not undo what was learned."""
    return Recipe(
        name=f"own_{name}",
        task=task,
        parents=parents,
        steps=1_000,
        optimizer=Muon(lr=lr),
        schedule=Schedule(warmup=10, decay=0.5, shape="cosine"),
        ema=0.98,
        needs_data=True,
        precision="bf16",
        evaluate_every=500,
        save_every=100,
    )
