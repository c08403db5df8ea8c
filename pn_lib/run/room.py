"""Whether a run has room: asked before it begins, not found out in its last notebook."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from pn_lib.errors import InputError
from pn_lib.files import check_writable, nearest
from pn_lib.models.flops import parameter_count
from pn_lib.models.transformer import TransformerConfig
from pn_lib.run.profile import Profile

STORY = 3000  # bytes: the text as it came and as it was kept, its tokens, and the index of copies
COPIES = 12  # of the main model's weights: two models of its size as files of two kinds, and checkpoints meanwhile
REST = 40_000_000  # bytes: smaller models, notebooks, figures, the report


def check_room(results: Path, others: Iterable[Path], profile: Profile) -> None:
    """See that a run can write its folders, ``results`` and ``others``, and that what it makes fits on the disk.

    Raises:
        InputError: it cannot, or it does not.
    """
    for folder in (results, *others):
        check_writable(folder)
    here = sum(path.stat().st_size for path in results.rglob("*") if path.is_file())
    needed, free = needed_bytes(profile) - here, shutil.disk_usage(nearest(results)).free
    if needed > free:
        raise InputError(
            f"a run of profile {profile.name} needs about {needed / 1e6:,.0f} MB of disk, and {free / 1e6:,.0f} MB are "
            f"free at {nearest(results)}; free some space, choose a smaller profile, or set the environment variable "
            "PN_ROOT to a folder on another disk"
        )


def needed_bytes(profile: Profile) -> int:
    """About what a run of ``profile`` leaves on the disk, and keeps there meanwhile."""
    stories = profile.data.train_stories + profile.data.validation_stories
    main = TransformerConfig(profile.tokenizer.vocab_size, profile.training.context, **profile.transformer)
    return STORY * stories + COPIES * 4 * parameter_count(main).total + REST
