"""Branches of guidance and how they combine."""

from dataclasses import dataclass

import pytest
import torch

from mutoscope.diffusion.guidance import TextGuidance, Unguided
from mutoscope.errors import RequestError


@dataclass(frozen=True)
class Told:
    """The least that guidance needs."""

    lost: tuple[str, ...] = ()

    def without(self, *names: str) -> "Told":
        return Told(self.lost + names)


def test_branches_are_with_and_without_text() -> None:
    assert TextGuidance(7.5).branches(Told()) == [Told(), Told(("text",))]
    assert TextGuidance(0.0).branches(Told()) == [Told(), Told(("text",))]


@pytest.mark.parametrize("guidance", [Unguided(), TextGuidance(1.0)], ids=repr)
def test_no_guidance_is_one_branch_and_its_own_answer(guidance: Unguided | TextGuidance) -> None:
    told = Told()
    answer = torch.randn(1, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert guidance.branches(told) == [told]
    assert guidance.combine([answer], told, 500.0) is answer


@pytest.mark.parametrize(("scale", "combined"), [(0.0, 2.0), (0.5, 3.5), (2.0, 8.0), (7.5, 24.5)])
def test_text_guidance_goes_from_the_answer_without_text_through_that_with(
    scale: float, combined: float
) -> None:
    with_text, without_text = torch.full((1, 1, 1, 1, 1), 5.0), torch.full((1, 1, 1, 1, 1), 2.0)
    result = TextGuidance(scale).combine([with_text, without_text], Told(), 500.0)
    assert result.item() == pytest.approx(combined)


@pytest.mark.parametrize("scale", [-0.1, float("nan"), float("inf")])
def test_scales_that_guide_nowhere_are_refused(scale: float) -> None:
    with pytest.raises(RequestError, match=f"guidance scale {scale} cannot be used"):
        TextGuidance(scale)


@pytest.mark.parametrize(("time", "combined"), [(999.0, 17.0), (900.0, 17.0), (899.0, 11.0)])
def test_guidance_may_lead_further_at_first(time: float, combined: float) -> None:
    with_text, without_text = torch.full((1, 1, 1, 1, 1), 5.0), torch.full((1, 1, 1, 1, 1), 2.0)
    guidance = TextGuidance(3.0, early=2.0, early_until=900.0)
    assert guidance.combine([with_text, without_text], Told(), time).item() == combined


@pytest.mark.parametrize("early", [-1.0, float("nan")])
def test_guidance_that_leads_nowhere_at_first_is_refused(early: float) -> None:
    with pytest.raises(RequestError, match="at first"):
        TextGuidance(3.0, early=early)


@pytest.mark.parametrize("until", [-1.0, 1000.0, float("nan")])
def test_guidance_that_leads_further_from_no_time_is_refused(until: float) -> None:
    with pytest.raises(RequestError, match=r"times are in \[0, 1000\)"):
        TextGuidance(3.0, early=2.0, early_until=until)
