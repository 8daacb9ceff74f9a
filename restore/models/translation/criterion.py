"""What judges the outputs of translation's generator: discriminators, and losses at every level."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from restore.losses.style import StyleLoss
from restore.models.translation.losses import Pyramid, calibrated_style_weight, discriminator_terms, generator_terms
from restore.models.translation.stages import Stage
from restore.networks.patch_gan import PatchDiscriminator, strided_layers


class Judges(nn.Module):
    """A discriminator for each level, the style loss, and the sums of what they say.

    Args:
        given: settings of :class:`restore.models.translation.model.Translation`.
        side: of a training picture at full resolution, in pixels, which decides how deep the discriminators are.

    Attributes:
        style_weights: calibrated at the start of a stage, by ``<stage>/<level>``.
    """

    def __init__(self, given: Mapping[str, Any], side: int) -> None:
        super().__init__()
        self.given = given
        self.discriminators = nn.ModuleList(
            PatchDiscriminator(
                in_channels=given["in_channels"],
                width=given["discriminator_width"],
                layers=strided_layers(side >> level),
                spectral=given["spectral_norm"],
            )
            for level in range(given["levels"] if given["adversarial_weight"] else 0)
        )
        self.style = None if given["style_weight"] == 0 else StyleLoss(given["style_features"])
        self.style_weights: dict[str, Tensor] = {}

    def follow(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move what is no module of the model; ``dtype`` is that of the weights."""
        if self.style is not None:
            self.style.to(device, dtype)
        self.style_weights = {key: weight.to(device) for key, weight in self.style_weights.items()}

    def forget(self, stage: Stage) -> None:
        """Weigh the style of a stage anew."""
        self.style_weights = {key: w for key, w in self.style_weights.items() if not key.startswith(f"{stage.number}/")}

    def discriminator_loss(
        self, inputs: Pyramid, targets: Pyramid, fakes: Mapping[int, Tensor], stage: Stage
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What the discriminators of the stage's levels lower.

        Args:
            inputs, targets: of all levels, (N, C, h, w) and (N, 3, h, w), [0, 1], the full resolution first.
            fakes: outputs of the levels trained, (N, 3, h, w); they get no gradient.

        Returns:
            The sum over levels, and its terms by log name.
        """
        log: dict[str, Tensor] = {}
        total = inputs[0].new_zeros(())
        for level in stage.trained:
            judge, fake = self.discriminators[level], fakes[level].detach()
            terms = discriminator_terms(judge, inputs[level], targets[level], fake, self.given)
            log |= {f"{name}_level{level}": term for name, term in terms.items()}
            total = total + terms["discriminator"]
            if "r1" in terms:
                total = total + self.given["r1_weight"] * terms["r1"]
        return total, log

    def generator_loss(
        self, inputs: Pyramid, targets: Pyramid, fakes: Mapping[int, Tensor], stage: Stage
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What the generator lowers in this stage; the discriminators get no gradient. Arguments as above.

        Returns:
            The sum over levels, and its terms by log name: raw, and ``_weighted`` as they count.
        """
        log: dict[str, Tensor] = {}
        total = inputs[0].new_zeros(())
        level_weights = self.given["level_weights"] or [1.0] * self.given["levels"]
        with _frozen(self.discriminators):
            for level in stage.trained:
                judge = self.discriminators[level] if len(self.discriminators) else None
                terms = generator_terms(judge, self.style, inputs[level], targets[level], fakes[level], self.given)
                for name, term in terms.items():
                    weight = level_weights[level] * self._weight(name, terms, f"{stage.number}/{level}")
                    log[f"{name}_level{level}"], log[f"{name}_level{level}_weighted"] = term, weight * term
                    total = total + weight * term
        return total, log

    def _weight(self, name: str, terms: Mapping[str, Tensor], place: str) -> float | Tensor:
        given: float | None = self.given[f"{name}_weight"]
        if given is not None:
            return given
        if place not in self.style_weights:
            self.style_weights[place] = calibrated_style_weight(terms, self.given["l1_weight"])
        return self.style_weights[place]

    def record(self) -> dict[str, Any]:
        """For the result of a run: which style network was used, and the weights it got."""
        if self.style is None:
            return {}
        weights = {f"stage {key}": float(weight) for key, weight in self.style_weights.items()}
        return {"style_features": self.style.source, "style_weights": weights}


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """What is computed meanwhile gives the module no gradient, also when it is differentiated later."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)
