"""The example on one page learns what it says it learns."""

import pathlib
import runpy

import numpy as np

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"


def test_four_members_learn_what_their_values_let_them(capsys):
    recall = runpy.run_path(str(EXAMPLES / "train_four_members.py"))["main"]()
    chance = 1 / 4
    assert recall.shape == (4, 4)
    assert (recall[:2] > chance + 0.5).all()  # both seeds know all classes
    # With a learning rate of zero: no better than the guess of one class, up to three standard errors of 400 images.
    assert abs(recall[2].mean() - chance) < 0.1
    np.testing.assert_array_equal(recall[3, 3], 0)  # no image of the last class counted
    assert (recall[3, :3] > chance + 0.5).all()
    assert capsys.readouterr().out.count("member ") == 4
