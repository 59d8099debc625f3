"""The tasks from SDR to HDR and to restored SDR."""

from dataclasses import replace

import torch
from torch import Tensor

from sdr2hdr.color.exposure import exposed
from sdr2hdr.color.transfer import pq_eotf, pq_inverse_eotf
from sdr2hdr.data.clips import PAIR_PEAK
from sdr2hdr.data.store import Batch
from sdr2hdr.errors import InputError
from sdr2hdr.models.base.on_base import OnBase
from sdr2hdr.models.kpnet.network import KPNet
from sdr2hdr.models.model import Inputs, Model, PyramidModel, RepairingModel, RestoringModel
from sdr2hdr.models.parts.pyramid import gaussian
from sdr2hdr.models.registry import network
from sdr2hdr.models.spec import ModelSpec
from sdr2hdr.render.renderer import BRIGHTNESS_RANGE
from sdr2hdr.training.losses import (
    clean_loss,
    damage,
    grid_loss,
    mapping_loss,
    perceptual_loss,
    restored_loss,
)
from sdr2hdr.training.recipe import Recipe, Stage
from sdr2hdr.training.task import Step, Task


class Mapping(Task[Model]):
    """The whole network against the master; for a model that restores SDR, ``aux_weight`` of the loss is the restoration."""

    name = "mapping"
    makes_hdr = True

    def undamaged(self, recipe: Recipe, spec: ModelSpec) -> bool:
        return spec.has_aux or recipe.clean_weight > 0

    def check(self, recipe: Recipe, stage: Stage, spec: ModelSpec) -> None:
        super().check(recipe, stage, spec)
        if spec.has_aux:
            check_window(recipe, stage, spec)
        if recipe.every_size and not spec.sizes:
            raise InputError(
                f"Recipe {recipe.name} has every_size, and model {recipe.model} as configured makes the picture at one size; "
                "leave it out."
            )
        if recipe.clean_weight and not (spec.look and _on_base(recipe, spec)):
            raise InputError(
                f"Recipe {recipe.name} has a clean_weight, which needs the base look, and model {recipe.model} as configured "
                "does not correct it; leave it out."
            )

        if bool(recipe.block_weight) != bool(spec.config.get("heads")):
            raise InputError(
                f"Recipe {recipe.name} has a block_weight or a model with heads, and they need each other; give both or none."
            )

    def loss(self, net: Model, batch: Batch, step: Step) -> Tensor:
        recipe, spec = step.recipe, step.spec
        if spec.brightness:
            batch = retold(batch, step.generator)
        inputs = Inputs(
            thumbs=batch.thumbs if spec.thumb else None,
            place=batch.place if spec.place else None,
            brightness=batch.brightness if spec.brightness else None,
            qp=told_qp(batch, step.generator) if spec.qp else None,
        )
        if isinstance(net, RestoringModel):
            inner = slice(spec.past, batch.sdr.shape[1] - spec.future)
            inputs |= {"past": spec.past, "future": spec.future}
            codes, aux, _ = net.forward_with_aux(batch.sdr, {}, **inputs)
            restored = restored_loss(aux, batch.clean[:, inner], recipe)
            loss = mapping_loss(codes.float(), batch.hdr[:, inner], recipe)
            loss = loss + _damage(net, codes, batch, inner, recipe)
            return (1 - recipe.aux_weight) * loss + recipe.aux_weight * restored
        if recipe.every_size and isinstance(net, PyramidModel):
            sizes, _ = net.forward_sizes(batch.sdr, {}, **inputs)
            return sum_over_sizes(sizes, batch.hdr, step)
        memories = step.memories
        begun = {} if memories is None else memories.state(batch.scenes, batch.sdr)
        codes, state = net(batch.sdr, begun, **inputs)
        if memories is not None:
            memories.keep(batch.scenes, state)
        loss = picture_loss(codes, batch.hdr, step)
        if recipe.block_weight and isinstance(net, KPNet):
            each = [(x - batch.hdr).abs().mean() for x in net.block_pictures(batch.sdr)]
            loss = loss + recipe.block_weight * torch.stack(each).sum()
        return loss + _damage(net, codes, batch, slice(None), recipe)


def picture_loss(codes: Tensor, truth: Tensor, step: Step) -> Tensor:
    """The recipe's loss of codes ``B,T,3,H,W`` against the master's, with that of their features."""
    loss = mapping_loss(codes.float(), truth, step.recipe)
    if step.features is not None:
        loss = loss + step.recipe.perceptual_weight * perceptual_loss(step.features, codes, truth)
    return loss


def sum_over_sizes(sizes: list[Tensor], truth: Tensor, step: Step) -> Tensor:
    """:func:`picture_loss`, added over codes of several sizes, the smallest first, against the pyramid of the master's codes
    ``B,T,3,H,W`` (FMSTFNet's eq. 4)."""
    pyramid = gaussian(truth.flatten(0, 1), len(sizes) - 1)
    wanted = [x.view(*truth.shape[:2], *x.shape[1:]) for x in pyramid]
    each = [picture_loss(a, b, step) for a, b in zip(sizes, wanted, strict=True)]
    return torch.stack(each).sum()


class Restoration(Task[RestoringModel]):
    """Only the restored SDR, from unaligned neighbours of the middle frame."""

    name = "restoration"
    reads_thumbs = False

    def undamaged(self, recipe: Recipe, spec: ModelSpec) -> bool:
        return True

    def check(self, recipe: Recipe, stage: Stage, spec: ModelSpec) -> None:
        super().check(recipe, stage, spec)
        check_window(recipe, stage, spec)

    def loss(self, net: RestoringModel, batch: Batch, step: Step) -> Tensor:
        middle = slice(step.spec.past, batch.sdr.shape[1] - step.spec.future)
        return restored_loss(
            net.restored(batch.sdr, still=True)[:, None], batch.clean[:, middle], step.recipe
        )


class Repair(Task[RepairingModel]):
    """Only the repaired SDR, of any frame of a clip, or of all if they share work: at the ends of a scene there is no frame
    before or after.

    The loss is L1 and a little of the :func:`damage`, so that weak damage counts as well.
    """

    name = "repair"
    reads_thumbs = False

    def undamaged(self, recipe: Recipe, spec: ModelSpec) -> bool:
        return True

    def loss(self, net: RepairingModel, batch: Batch, step: Step) -> Tensor:
        count = batch.sdr.shape[1]
        first = int(torch.randint(count, (), generator=step.generator))
        which = range(count) if net.shares_work else range(first, first + 1)
        qp = told_qp(batch, step.generator) if step.spec.qp else None
        restored = net.restored_frames(batch.sdr, which, qp).float()
        clean = batch.clean[:, which.start : which.stop]
        error = restored - clean
        loss = error.abs().mean() + 0.003 * damage(error, 2e-5)
        weight = step.recipe.grid_weight
        return loss + weight * grid_loss(restored, clean) if weight else loss


def retold(batch: Batch, generator: torch.Generator) -> Batch:
    """Half of a batch's masters at another brightness, drawn around their own; all within what models are told."""
    own = batch.brightness.cpu()
    other = own * (0.3 * torch.randn(len(own), generator=generator)).exp()
    moved = torch.where(torch.rand(len(own), generator=generator) < 0.5, other, own)
    moved = moved.clamp(*BRIGHTNESS_RANGE)
    masters = [
        master if told == was else pq_inverse_eotf(exposed(pq_eotf(master), told / was, PAIR_PEAK))
        for master, told, was in zip(batch.hdr, moved.tolist(), own.tolist(), strict=True)
    ]
    return replace(batch, hdr=torch.stack(masters), brightness=moved.to(batch.hdr.device))


def told_qp(batch: Batch, generator: torch.Generator) -> Tensor:
    """What a network is told of the clips' QPs ``B``: NaN for one in seven, as films have whose codec does not say it.

    One in seven is told a lower QP than its own, as a film that was compressed twice; the others are told theirs within a few:
    encoders move the QP from block to block, and a header is that far from the mean of its blocks. Clips that went through
    no codec are told a QP of up to 16.
    """
    qp = batch.qp.cpu()
    count = len(qp)
    share = torch.rand(count, generator=generator)
    near = qp + 0.5 + 2.5 * torch.randn(count, generator=generator)
    lower = 8 + (near - 8) * torch.rand(count, generator=generator)
    told = torch.where(share < 1 / 7, lower, near).clamp_min(1)
    told = torch.where(qp == 0, 16 * torch.rand(count, generator=generator), told)
    return torch.where(share > 6 / 7, torch.nan, told).to(batch.sdr.device)


def check_window(recipe: Recipe, stage: Stage, spec: ModelSpec) -> None:
    """Raise InputError if the stage's clips are shorter than the model's window."""
    window = spec.past + spec.future + 1
    if stage.frames < window:
        raise InputError(
            f"Recipe {recipe.name} has a stage of fewer frames than model {recipe.model} sees at once, {window}; give it as many."
        )


def _on_base(recipe: Recipe, spec: ModelSpec) -> bool:
    return issubclass(network(recipe.model).form(spec.config), OnBase)


def _damage(net: Model, codes: Tensor, batch: Batch, inner: slice, recipe: Recipe) -> Tensor:
    """The weighted damage that is left in codes ``B,T,3,H,W`` of the frames ``inner`` of a batch."""
    if not recipe.clean_weight or not isinstance(net, OnBase):
        return torch.zeros((), device=codes.device)
    clean, thumbs = batch.clean[:, inner], batch.thumbs[:, inner]
    return recipe.clean_weight * clean_loss(net, codes, clean, thumbs, batch.brightness)
