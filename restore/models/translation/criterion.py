"""The losses of translation over all levels, with the discriminators they need."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from restore.io.errors import SettingError
from restore.losses.pixel import at_least_float32
from restore.losses.style import StyleLoss
from restore.models.translation.losses import (
    DiscriminatorSettings,
    LossWeights,
    calibrated_style_weight,
    discriminator_terms,
    generator_terms,
    l1_and_style,
)
from restore.models.translation.network import Pyramid, TranslationNetwork
from restore.models.translation.stages import Stage
from restore.networks.patch_gan import PatchDiscriminator, strided_layers

CALIBRATED_ON = 8  # batches at the start of a stage


class Criterion(nn.Module):
    """A discriminator per level, the style loss, and the weighted sums of all terms.

    Args:
        weights: weights of the terms; without an adversarial weight there are no discriminators.
        settings: settings of the discriminators.
        style_features: see :class:`StyleLoss`.
        in_channels: of lq.
        side: side of a training crop at full resolution, in pixels, which determines the depth of the discriminators.

    Attributes:
        style_weights: calibrated during the first batches of a stage, after each batch on all so far, by
            ``<stage>/<level>``; style_sums: L1 and style loss summed over these batches; style_batches: their number.
    """

    def __init__(
        self, weights: LossWeights, settings: DiscriminatorSettings, *, style_features: str, in_channels: int, side: int
    ) -> None:
        super().__init__()
        self.weights, self.settings = weights, settings
        self.discriminators = nn.ModuleList(
            PatchDiscriminator(
                in_channels=in_channels,
                width=settings.width,
                layers=strided_layers(side >> level),
                spectral=settings.spectral_norm,
            )
            for level in range(len(weights.levels) if weights.adversarial else 0)
        )
        self.style = None if weights.style == 0 else StyleLoss(style_features)
        self.style_weights: dict[str, Tensor] = {}
        self.style_sums: dict[str, Tensor] = {}
        self.style_batches: dict[str, int] = {}

    def move_others(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move what is not a submodule: the style network, which gets the weights' ``dtype``, and the style weights."""
        if self.style is not None:
            self.style.to(device, dtype)
        self.style_weights = {key: weight.to(device) for key, weight in self.style_weights.items()}
        self.style_sums = {key: sums.to(device) for key, sums in self.style_sums.items()}

    def forget_calibration(self, stage: Stage) -> None:
        """Drop the style weights of a stage, so that they are calibrated again at its start."""
        for each in (self.style_weights, self.style_sums, self.style_batches):
            for key in [key for key in each if key.startswith(f"{stage.number}/")]:
                del each[key]

    def calibration(self) -> dict[str, Any]:
        """The state of the calibration, for a checkpoint."""
        return {name: dict(getattr(self, name)) for name in ("style_weights", "style_sums", "style_batches")}

    def load_calibration(self, state: Mapping[str, Any]) -> None:
        """Restore the state; old checkpoints have no sums, and their weights, from one batch, are kept."""
        self.style_weights = dict(state["style_weights"])
        self.style_sums = dict(state.get("style_sums", {}))
        self.style_batches = dict.fromkeys(self.style_weights, CALIBRATED_ON) | dict(state.get("style_batches", {}))

    def discriminator_loss(
        self, inputs: Pyramid, targets: Pyramid, fakes: Mapping[int, Tensor], stage: Stage
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of the discriminators of the stage's levels.

        Args:
            inputs, targets: all levels, (N, C, h, w) and (N, 3, h, w), [0, 1], the full resolution first.
            fakes: outputs of the levels being trained, (N, 3, h, w); they get no gradient.

        Returns:
            The sum over levels, and its terms by log name.
        """
        log: dict[str, Tensor] = {}
        total = inputs[0].new_zeros(())
        for level in stage.trained:
            terms = discriminator_terms(
                self.discriminators[level],
                inputs[level],
                targets[level],
                fakes[level].detach(),
                weights=self.weights,
                settings=self.settings,
            )
            log |= {f"{name}_level{level}": term for name, term in terms.items()}
            total = total + terms["discriminator"]
            if "r1" in terms:
                total = total + self.weights.r1 * terms["r1"]
        return total, log

    def generator_loss(
        self, inputs: Pyramid, targets: Pyramid, fakes: Mapping[int, Tensor], stage: Stage
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of the generator in this stage; the discriminators get no gradient.

        Args:
            inputs, targets: all levels, (N, C, h, w) and (N, 3, h, w), [0, 1], the full resolution first.
            fakes: outputs of the levels being trained, (N, 3, h, w).

        Returns:
            The sum over levels, and its terms by log name: unweighted, and with suffix ``_weighted`` as they are
                summed.
        """
        log: dict[str, Tensor] = {}
        total = inputs[0].new_zeros(())
        with _frozen(self.discriminators):
            for level in stage.trained:
                terms = generator_terms(
                    self.discriminators[level] if len(self.discriminators) else None,
                    self.style,
                    inputs[level],
                    targets[level],
                    fakes[level],
                    weights=self.weights,
                    settings=self.settings,
                )
                for name, term in terms.items():
                    weight = self.weights.levels[level] * self._weight(name, terms, f"{stage.number}/{level}")
                    log[f"{name}_level{level}"], log[f"{name}_level{level}_weighted"] = term, weight * term
                    total = total + weight * term
        return total, log

    def _weight(self, name: str, terms: Mapping[str, Tensor], key: str) -> float | Tensor:
        given: float | None = getattr(self.weights, name)
        if given is not None:
            return given
        batches = self.style_batches.get(key, 0)
        if batches < CALIBRATED_ON:
            seen = l1_and_style(terms)
            self.style_sums[key] = seen + self.style_sums[key] if batches else seen
            self.style_batches[key] = batches + 1
            self.style_weights[key] = calibrated_style_weight(self.style_sums[key], self.weights.l1)
        return self.style_weights[key]

    def refuse_others(self, state: Mapping[str, Tensor]) -> None:
        """Refuse a checkpoint whose discriminators differ.

        Args:
            state: of this module, from the checkpoint.

        Raises:
            SettingError: names or shapes differ from this module's.
        """
        if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in self.state_dict().items()}:
            raise SettingError(
                "resume",
                "a checkpoint with other discriminators",
                "those of this data.patch_size, model.levels and model.adversarial_weight",
                "set these as in that run, or use init_from, which takes over the generator only",
            )

    def record(self) -> dict[str, Any]:
        """Entries of a run's result: the style network that was used, and its weights."""
        if self.style is None:
            return {}
        weights = {f"stage {key}": float(weight) for key, weight in self.style_weights.items()}
        return {"style_features": self.style.source, "style_weights": weights}


def pyramids(
    network: TranslationNetwork, batch: Mapping[str, Tensor], stage: Stage
) -> tuple[Pyramid, Pyramid, dict[int, Tensor]]:
    """The images that the losses of a step compare.

    Args:
        batch: ``lq`` (N, C, h, w) and ``gt`` (N, 3, h, w), float in [0, 1].

    Returns:
        Input (N, C, h, w) and reference (N, 3, h, w) at all levels, the full resolution first; and, by level, the
        outputs (N, 3, h, w) of the levels trained in this stage, float32; all in [0, 1].
    """
    inputs, targets = network.input_pyramid(batch["lq"]), network.pyramid(batch["gt"], network.interpolation)
    outputs = network.outputs(inputs, stage.top)
    return inputs, targets, {level: at_least_float32(outputs[level - stage.top]) for level in stage.trained}


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Within the block, the module's parameters get no gradient, even from outputs differentiated later."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)
