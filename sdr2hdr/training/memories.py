"""What a network remembers of each scene from one training batch to the next (WMNet, section III-D)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sdr2hdr.models.spec import State


class Memories:
    """The slots of every scene that was seen, without gradients, by its name. Patches of a scene share them."""

    def __init__(self) -> None:
        self.held: dict[str, Tensor] = {}
        """Slots ``n,...`` by scene, the latest last."""

    def state(self, scenes: Sequence[str], like: Tensor) -> State:
        """The state that a batch of clips of ``scenes`` begins with, in the precision and on the device of ``like``."""
        known = [self.held.get(scene) for scene in scenes]
        first = next((slots for slots in known if slots is not None), None)
        if first is None:
            return {}
        most = max(len(slots) for slots in known if slots is not None)
        slots = like.new_zeros(len(known), most, *first.shape[1:])
        held = torch.zeros(len(known), most, dtype=torch.bool, device=like.device)
        for i, each in enumerate(known):
            if each is not None:
                slots[i, most - len(each) :] = each.to(slots)
                held[i, most - len(each) :] = True
        return {"slots": slots, "held": held}

    def keep(self, scenes: Sequence[str], state: State) -> None:
        """Remember what is in the state after a batch; of clips of one scene, the last."""
        slots, held = state["slots"].detach(), state.get("held")
        for i, scene in enumerate(scenes):
            self.held[scene] = (slots[i] if held is None else slots[i, held[i]]).clone()
