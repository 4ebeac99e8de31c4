"""A private folder is refused if a group could replace it through its parents."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from policy_runner.backends.private_folder import PrivateFolder
from policy_runner.core.errors import Refusal

ROOT = os.geteuid() == 0


@pytest.mark.skipif(not ROOT, reason="only root can give a folder to any group")
def test_a_parent_that_a_foreign_group_writes_to_is_refused_unless_sticky(tmp_path: Path) -> None:
    parent = tmp_path / "shared"
    parent.mkdir()
    parent.chmod(0o775)
    PrivateFolder(parent / "engines").close()  # the parent has this user's group
    os.chown(parent, -1, 12345)
    parent.chmod(0o775)
    with pytest.raises(Refusal, match="shared that group 12345 may write to; give another"):
        PrivateFolder(parent / "engines")
    for mode in (0o755, 0o1775):
        parent.chmod(mode)
        PrivateFolder(parent / "engines").close()
