import hashlib
from typing import Any, get_args

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from restore.callbacks.ema import EMA
from restore.callbacks.seed_steps import SeedSteps
from restore.config.inference import Inference
from restore.inference.network import NetworkRestorer
from restore.io.errors import SettingError
from restore.models import loading
from restore.models.translation.criterion import CALIBRATED_ON, Criterion, pyramids
from restore.models.translation.model import Translation
from restore.models.translation.stages import Stage, make_stages, stage_at
from restore.networks.multires_translation import Level
from restore.ops.resize import Interpolation

SIDE = 32


def tiny(levels: int = 2, **settings: Any) -> Translation:
    torch.manual_seed(0)
    small: dict[str, Any] = {
        "levels": levels,
        "width": 4,
        "blocks": 1,
        "discriminator_width": 4,
        "style_features": "random",
    }
    return Translation(**small | settings)


def batch(count: int = 2, side: int = SIDE, channels: int = 3) -> dict[str, Any]:
    """Blobs of colour, and their grey contours as input."""
    random = torch.Generator().manual_seed(0)
    gt = torch.rand(count, 3, side // 8, side // 8, generator=random).repeat_interleave(8, 2).repeat_interleave(8, 3)
    grey = gt.mean(1, keepdim=True)
    lq = (grey - grey.roll(1, 2)).abs() + (grey - grey.roll(1, 3)).abs()
    return {"lq": lq.clamp(0, 1).expand(-1, channels, -1, -1), "gt": gt, "name": ["x"] * count}


class Batches(LightningDataModule):
    """The same pair again and again, one by one."""

    def __init__(self, count: int, side: int = SIDE) -> None:
        super().__init__()
        self.count, self.patch_size, self.batch_size = count, side, 1

    def train_dataloader(self) -> DataLoader[Any]:
        pair = batch(2)
        samples: Any = [{"lq": pair["lq"][k % 2], "gt": pair["gt"][k % 2], "name": "x"} for k in range(self.count)]
        return DataLoader(samples, batch_size=1)


def train(
    model: Translation, steps: int, *callbacks: Callback, data: Batches | None = None, **settings: Any
) -> Trainer:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = Trainer(
        max_steps=steps,
        max_epochs=1,
        accelerator="cpu",
        callbacks=[SeedSteps(seed=0), *callbacks],
        **quiet | settings,
    )
    trainer.fit(model, datamodule=data or Batches(steps * settings.get("accumulate_grad_batches", 1)))
    return trainer


def digest(modules: list[nn.Module]) -> str:
    together = hashlib.sha256()
    for module in modules:
        for value in module.parameters():
            together.update(value.detach().numpy().tobytes())
    return together.hexdigest()


class Watch(Callback):
    """Notes after each step what has changed, and what the optimisers know."""

    def __init__(self) -> None:
        self.moved: list[set[str]] = []
        self.ages: list[set[float]] = []
        self.rates: list[float] = []
        self._before: dict[str, str] = {}

    def _digests(self, model: Any) -> dict[str, str]:
        found = {}
        for r in range(len(model.network.levels)):
            found[f"level {r}"] = digest(model.network.modules_of(r))
            if len(model.criterion.discriminators):
                found[f"discriminator {r}"] = digest([model.criterion.discriminators[r]])
        return found

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._before = self._digests(pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        after = self._digests(pl_module)
        self.moved.append({name for name in after if after[name] != self._before[name]})
        optimizers = [*trainer.optimizers, *([pl_module.opt_d] if pl_module.opt_d else [])]
        self.ages.append({float(state["step"]) for o in optimizers for state in o.state.values()})
        self.rates += [group["lr"] for group in optimizers[0].param_groups]


# --- stages ---


def test_each_stage_moves_exactly_what_it_claims_with_fresh_optimisers() -> None:
    watch = Watch()
    train(tiny(3), 12, watch)
    alone = [{f"level {r}", f"discriminator {r}"} for r in (2, 1, 0)]
    everything = set().union(*alone)
    assert watch.moved == [alone[0]] * 3 + [alone[1]] * 3 + [alone[2]] * 3 + [everything] * 3
    assert watch.ages == [{1.0}, {2.0}, {3.0}] * 4
    assert watch.rates == pytest.approx([2e-4] * 9 + [1e-4, 1e-4 * 2 / 3, 1e-4 / 3])


def test_everything_at_once_moves_everything() -> None:
    watch = Watch()
    train(tiny(2, stages=[]), 2, watch)
    assert watch.moved == [{"level 0", "level 1", "discriminator 0", "discriminator 1"}] * 2


def test_without_adversarial_loss_there_are_no_discriminators() -> None:
    watch, model = Watch(), tiny(2, adversarial_weight=0.0)
    train(model, 3, watch)
    assert watch.moved == [{"level 1"}, {"level 0"}, {"level 0", "level 1"}]
    assert not any(name.startswith("train/adv") or name.startswith("train/disc") for name in model.train_values)


def test_in_the_joint_stage_every_single_parameter_moves() -> None:
    class Copies(Callback):
        before: dict[str, Tensor]

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            self.before = {name: p.detach().clone() for name, p in pl_module.named_parameters()}

    copies, model = Copies(), tiny(2)
    train(model, 6, copies)
    still = {name for name, p in model.named_parameters() if torch.equal(p, copies.before[name])}
    # a bias in front of instance norm changes nothing, so its gradient is rounding alone, or nothing
    assert all(".blocks." in name and name.endswith(".bias") for name in still)


def test_lower_outputs_are_the_same_when_a_trained_network_gets_its_next_level() -> None:
    model = tiny(3)
    trainer = train(model, 4)
    assert trainer.global_step == 4
    model = tiny(3, stages=None)
    seen = {}

    class AtSwitch(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            stage = stage_at(pl_module.stages, trainer.global_step)
            if stage.begin == trainer.global_step and stage.level in (1, 0):
                inputs = pl_module.network.input_pyramid(batch["lq"])
                with torch.no_grad():
                    seen[stage.level] = (
                        pl_module.network.outputs(inputs, stage.top + 1),
                        pl_module.network.outputs(inputs, stage.top),
                    )

    train(model, 8, AtSwitch())
    for level in (1, 0):
        before, after = seen[level]
        assert all(torch.equal(one, other) for one, other in zip(before, after[1:], strict=True))


def test_steps_count_generator_updates_with_accumulation_and_clipping() -> None:
    class Norms(Callback):
        def __init__(self) -> None:
            self.found: list[float] = []

        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            self.found.append(
                float(nn.utils.get_total_norm([p.grad for p in pl_module.network.parameters() if p.grad is not None]))
            )

    watch, norms = Watch(), Norms()
    trainer = train(tiny(2), 6, watch, norms, accumulate_grad_batches=2)
    assert trainer.global_step == 6
    assert len(watch.moved) == 12
    assert [bool(moved) for moved in watch.moved] == [False, True] * 6
    assert len(norms.found) == 6


def test_clipping_bounds_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[float] = []
    step = torch.optim.Adam.step

    def noted(self: torch.optim.Adam, closure: Any = None) -> Any:
        result = None if closure is None else closure()
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        norms.append(float(nn.utils.get_total_norm(gradients)))
        step(self)
        return result

    monkeypatch.setattr(torch.optim.Adam, "step", noted)
    train(tiny(2), 3, gradient_clip_val=0.01)
    assert len(norms) == 6
    assert max(norms) <= 0.0101


def test_one_accumulated_step_is_one_step_of_a_larger_batch() -> None:
    """Instance norm and losses are means per image, so gradients agree."""
    settings = {"style_weight": 0.0, "adversarial_weight": 0.0}
    pair, models = batch(2), (tiny(2, **settings).double(), tiny(2, **settings).double())
    (stage,) = make_stages([], levels=2, max_steps=1)
    for model, parts in zip(models, ([slice(0, 2)], [slice(0, 1), slice(1, 2)]), strict=True):
        torch.manual_seed(1)
        criterion = model.criterion = model.make_criterion(SIDE)
        model.enter(stage)
        for part in parts:
            compared = pyramids(model.network, {key: pair[key][part].double() for key in ("lq", "gt")}, stage)
            (criterion.generator_loss(*compared, stage)[0] / len(parts)).backward()
    for one, other in zip(*(model.network.parameters() for model in models), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-5)


def test_the_average_is_of_the_generator_alone_and_begins_anew_with_a_stage() -> None:
    ema, model = EMA(decay=0.5), tiny(2)
    train(model, 4, ema)
    assert ema.average is not None
    assert set(ema.average.state_dict()) == set(model.network.state_dict())
    assert int(ema.average.get_buffer("top")) == int(model.network.top) == 0
    assert model.average_from == model.stages[-1].begin


def test_half_precision_with_a_scaler_is_refused() -> None:
    model = tiny(2)
    model.trainer = Trainer(logger=False, accelerator="cpu", max_steps=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model.trainer), "precision", "16-mixed")
        with pytest.raises(SettingError) as error:
            model.setup("fit")
    assert error.value.key == "trainer.precision"


# --- losses ---


Given = tuple[list[Tensor], list[Tensor], dict[int, Tensor], Stage]


def judged(**settings: Any) -> tuple[Translation, Criterion, Given]:
    """A model in a joint stage, and what its losses take."""
    model = tiny(3, **settings)
    model.criterion = model.make_criterion(SIDE)
    (stage,) = make_stages([], levels=3, max_steps=1)
    model.enter(stage)
    return model, model.criterion, (*pyramids(model.network, batch(), stage), stage)


ALL = {"feature_matching_weight": 10.0, "frequency_weight": 0.1}


@pytest.mark.parametrize("adversarial", ["least_squares", "hinge", "non_saturating"])
@pytest.mark.parametrize("augment", [[], ["color", "translation", "cutout"]])
def test_every_loss_reaches_the_head_of_its_level_and_no_other(adversarial: str, augment: list[str]) -> None:
    model, criterion, given = judged(adversarial=adversarial, augment=augment, **ALL)
    _, terms = criterion.generator_loss(*given)
    names = ("l1", "adversarial", "style", "feature_matching", "frequency")
    assert set(terms) == {f"{name}_level{r}{end}" for name in names for r in range(3) for end in ("", "_weighted")}
    heads = [level.head.weight for level in model.network.levels if isinstance(level, Level)]
    for name in names:
        for r in range(3):
            gradients = torch.autograd.grad(terms[f"{name}_level{r}"], heads, retain_graph=True, allow_unused=True)
            assert [g is not None and bool(g.any()) for g in gradients] == [k == r for k in range(3)], (name, r)


@pytest.mark.parametrize("adversarial", ["least_squares", "hinge", "non_saturating"])
def test_the_steps_give_each_other_no_gradient(adversarial: str) -> None:
    model, criterion, given = judged(adversarial=adversarial, **ALL)
    loss, terms = criterion.discriminator_loss(*given)
    loss.backward()
    assert all(p.grad is None for p in model.network.parameters())
    assert all(p.grad is not None for p in criterion.discriminators.parameters())
    assert ("r1_level0" in terms) == (adversarial == "non_saturating")
    criterion.zero_grad()
    criterion.generator_loss(*given)[0].backward()
    assert all(p.grad is None for p in criterion.parameters())
    assert all(p.requires_grad for p in criterion.discriminators.parameters())
    assert all(p.grad is not None for p in model.network.parameters())


def test_weighted_terms_add_up_to_the_loss_and_style_counts_half_as_much_as_l1() -> None:
    _, criterion, given = judged(level_weights=[1.0, 2.0, 0.5], **ALL)
    loss, terms = criterion.generator_loss(*given)
    weighted = {name: float(term.detach()) for name, term in terms.items() if name.endswith("_weighted")}
    assert sum(weighted.values()) == pytest.approx(float(loss), rel=1e-5)
    for r, weight in enumerate((1.0, 2.0, 0.5)):
        assert weighted[f"l1_level{r}_weighted"] == pytest.approx(100 * weight * float(terms[f"l1_level{r}"]), rel=1e-5)
        assert weighted[f"style_level{r}_weighted"] == pytest.approx(weighted[f"l1_level{r}_weighted"] / 2, rel=1e-5)
    record = criterion.record()
    assert record["style_features"] == "random weights, seed 0"
    assert set(record["style_weights"]) == {"stage 1/0", "stage 1/1", "stage 1/2"}


def test_a_weight_is_calibrated_on_the_first_batches_of_its_stage_and_a_given_one_overrides() -> None:
    _, criterion, given = judged()
    inputs, targets, fakes, stage = given
    darker = [{level: fake / k for level, fake in fakes.items()} for k in range(1, CALIBRATED_ON + 2)]
    l1, style = 0.0, 0.0
    for k, fake in enumerate(darker[:-1]):
        _, terms = criterion.generator_loss(inputs, targets, fake, stage)
        l1, style = l1 + float(terms["l1_level1"]), style + float(terms["style_level1"])
        assert float(criterion.style_weights["1/1"]) == pytest.approx(50 * l1 / style, rel=1e-5)
        if k == 2:  # as after a resume
            state, (_, criterion, _) = criterion.calibration(), judged()
            criterion.load_calibration(state)
    known = dict(criterion.style_weights)
    criterion.generator_loss(inputs, targets, darker[-1], stage)
    assert criterion.style_weights == known
    criterion.forget_calibration(stage)
    assert criterion.style_weights == criterion.style_batches == {}
    _, criterion, given = judged(style_weight=7.0)
    _, terms = criterion.generator_loss(*given)
    assert float(terms["style_level1_weighted"]) == pytest.approx(7 * float(terms["style_level1"]))
    assert criterion.style_weights == {}


def test_a_checkpoint_of_before_keeps_its_weights_of_one_batch() -> None:
    _, criterion, given = judged()
    stored = {f"1/{level}": torch.tensor(3.0) for level in range(3)}
    criterion.load_calibration({"optimizer": None, "style_weights": stored})
    criterion.generator_loss(*given)
    assert criterion.style_weights == stored


def test_losses_not_asked_for_are_not_computed() -> None:
    _, criterion, given = judged(style_weight=0.0, adversarial_weight=0.0)
    _, terms = criterion.generator_loss(*given)
    assert set(terms) == {f"l1_level{r}{end}" for r in range(3) for end in ("", "_weighted")}
    assert criterion.record() == {}


def test_two_pairs_are_learnt_by_heart() -> None:
    random = torch.Generator().manual_seed(0)
    gt = torch.nn.functional.interpolate(torch.rand(2, 3, 4, 4, generator=random), size=32, mode="bilinear")
    pairs = {"lq": gt.mean(1, keepdim=True).expand(-1, 3, -1, -1), "gt": gt, "name": ["x"] * 2}

    class Pairs(Batches):
        def train_dataloader(self) -> DataLoader[Any]:
            return DataLoader([pairs] * self.count, batch_size=None)  # type: ignore[arg-type]

    class History(Callback):
        def __init__(self) -> None:
            self.l1: list[float] = []

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            self.l1.append(float(pl_module.train_values["train/l1_level0"]))

    history, model = History(), tiny(2, width=8, stages=[], lr=2e-3, style_weight=0.0)
    train(model, 150, history, data=Pairs(150))
    assert sum(history.l1[-5:]) / 5 < history.l1[0] / 5


# --- use ---


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(64, 64), (128, 64), (67, 45), (1, 3)])
def test_output_size_is_input_size(levels: int, size: tuple[int, int]) -> None:
    model = tiny(levels).eval()
    with torch.no_grad():
        pred = model.restore_whole(torch.rand(1, 3, *size))
        outputs = model.level_outputs(torch.rand(1, 3, *size))
    assert pred.shape == (1, 3, *size)
    assert [None if each is None else each.shape for each in outputs] == [(1, 3, *size)] * levels


@pytest.mark.parametrize("interpolation", get_args(Interpolation))
def test_every_interpolation_makes_the_pyramids(interpolation: Interpolation) -> None:
    model = tiny(3, interpolation=interpolation)
    (stage,) = make_stages([], levels=3, max_steps=1)
    inputs, targets, fakes = pyramids(model.network, batch(), stage)
    assert [each.shape[-1] for each in inputs] == [each.shape[-1] for each in targets] == [32, 16, 8]
    assert sorted(fakes) == [0, 1, 2]
    assert all(each.min() >= 0 and each.max() <= 1 for each in [*inputs, *targets])


def test_labels_always_go_down_by_the_nearest_pixel() -> None:
    model = tiny(2, input_kind="labels", interpolation="bicubic")
    labels = torch.randint(0, 5, (1, 3, 32, 32)) / 4
    assert set(model.network.input_pyramid(labels)[1].unique().tolist()) <= set(labels.unique().tolist())


def test_in_use_the_highest_trained_output_counts_and_travels_with_the_weights() -> None:
    model = tiny(2).eval()
    model.enter(make_stages(None, levels=2, max_steps=3)[0])
    picture = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        pred = model(picture)
        low = model.network.outputs(model.network.input_pyramid(picture), 1)[0]
    assert pred.shape == (1, 3, 32, 32)
    assert (torch.nn.functional.avg_pool2d(pred, 2) - low).abs().mean() < 0.2 * low.std()
    assert [each is None for each in model.level_outputs(picture)] == [False, True]
    other = tiny(2).eval()
    other.network.load_state_dict(model.network.state_dict())
    with torch.no_grad():
        assert torch.equal(other(picture), pred)


def test_tiles_are_refused_with_the_reason() -> None:
    with pytest.raises(SettingError) as error:
        NetworkRestorer("tiny", tiny(2).network, Inference(tile="64", device="cpu"))
    assert (error.value.key, error.value.got) == ("tile", "64")


def test_an_image_is_restored_whole_or_refused_when_it_does_not_fit() -> None:
    for tile in ("auto", "none"):
        restorer = NetworkRestorer("tiny", tiny(2).network, Inference(tile=tile, device="cpu"))
        assert restorer.restore(torch.rand(3, 33, 21)).shape == (3, 33, 21)
    small = NetworkRestorer("tiny", tiny(2).network, Inference(device="cpu", memory_gb=0.01))
    with pytest.raises(SettingError) as error:
        small.restore(torch.rand(3, 900, 900))
    assert (error.value.key, error.value.got) == ("memory_gb", "0.01")
    with pytest.raises(ValueError, match="window is 8"):
        tiny(2).network.pool_locally(8)


# --- settings ---


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("scale", 2),
        ("lr", 0.0),
        ("betas", [0.5]),
        ("l1_weight", -1.0),
        ("l1_weight", float("nan")),
        ("r1_weight", float("inf")),
        ("style_weight", -1.0),
        ("adversarial", "wasserstein"),
        ("level_weights", [1.0]),
        ("level_weights", [1.0, 0.0]),
        ("level_weights", []),
        ("augment", ["blur"]),
        ("discriminator_width", 0),
    ],
)
def test_bad_training_settings_are_named(setting: str, value: Any) -> None:
    with pytest.raises(SettingError) as error:
        tiny(**{setting: value})
    assert error.value.key == f"model.{setting}"
    assert str(error.value.got) == str(value)


@pytest.mark.parametrize(("setting", "value"), [("levels", 0), ("interpolation", "cubic"), ("input_kind", "text")])
def test_bad_network_settings_are_named(setting: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"model\.{setting} is {value}"):
        tiny(**{setting: value})


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"l1_weight": 0.0}, "style_weight"),
        ({"l1_weight": 0.0, "style_weight": 0.0, "adversarial_weight": 0.0}, "l1_weight"),
        ({"feature_matching_weight": 10.0, "adversarial_weight": 0.0}, "feature_matching_weight"),
        ({"stages": [{"level": 3, "share": 1.0}]}, "stages"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(settings: dict[str, Any], key: str) -> None:
    with pytest.raises(SettingError) as error:
        tiny(**settings)
    assert error.value.key == f"model.{key}"


def test_the_table_of_methods_knows_it() -> None:
    assert loading.METHODS["translation"].model == f"{Translation.__module__}.{Translation.__qualname__}"
