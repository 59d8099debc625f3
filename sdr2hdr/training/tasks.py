"""All tasks, by their names in recipes."""

from typing import Any

from sdr2hdr.training.diffusion import DIFFUSION_TASKS
from sdr2hdr.training.mapping import Mapping, Repair, Restoration
from sdr2hdr.training.masking import Masked
from sdr2hdr.training.task import Task

TASKS: dict[str, Task[Any]] = {
    task.name: task for task in (Mapping(), Masked(), Restoration(), Repair(), *DIFFUSION_TASKS)
}
