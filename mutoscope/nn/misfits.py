"""What of some weights does not fit a network: missing, unknown, or of another shape."""

from collections.abc import Mapping, Sequence

from torch import Tensor

_FEW = 3


def misfits(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """What has to change for `given` to have the names and shapes of `wanted`, one line each.

    Args:
        given: Weights by name.
        wanted: Weights of the network by name; only their shapes are looked at.
    """
    return [
        *(f"{name} is missing" for name in sorted(wanted.keys() - given.keys())),
        *(f"{name} is unknown" for name in sorted(given.keys() - wanted.keys())),
        *(
            f"{name} is {tuple(given[name].shape)} and should be {tuple(wanted[name].shape)}"
            for name in sorted(wanted.keys() & given.keys())
            if given[name].shape != wanted[name].shape
        ),
    ]


def first_of(problems: Sequence[str]) -> str:
    """The first few problems, and how many more there are."""
    few, rest = "; ".join(problems[:_FEW]), len(problems) - _FEW
    return f"{few}, and {rest} more" if rest > 0 else few
