"""`--max-quality-loss`: how much of a network may be reused, looked up in its measured curve."""

from dataclasses import replace

from mutoscope.cli.making import Settings
from mutoscope.systems import System
from mutoscope.systems.load import folder_of
from mutoscope.systems.lora import base_hash
from mutoscope.systems.reuse_curve import read_curve


def reusing(system: System, settings: Settings, most: float) -> Settings:
    """The settings with the reuse that saves most of what loses at most so much; says which.

    Args:
        system: The model, with weights.
        settings: What is to be made of it.
        most: Quality loss allowed, a share of the range of pixel values.

    Raises:
        ModelError: No curve was measured for the model.
        RequestError: It was measured for other weights, steps or guidance.
    """
    curve = read_curve(folder_of(settings.model))
    guidance = system.guidance(settings.guidance)
    curve.check(base_hash(system), settings.steps, guidance, system.config.draft_until)
    best = curve.fastest_within(most)
    measured = f"measured on {curve.prompts} prompts, {curve.date}"
    if best is None:
        print(f"no reuse loses {100 * most:g} % or less ({measured}): all steps are exact")
        return settings
    print(
        f"reuse: every {best.interval} steps all is computed, else {best.layers} of the finest "
        f"layers: {best.time:.0%} of the time, a quality loss of {100 * best.loss:.2g} % "
        f"[{100 * best.loss_low:.2g}, {100 * best.loss_high:.2g}] ({measured})"
    )
    return replace(settings, reuse_interval=best.interval, reuse_layers=best.layers)
