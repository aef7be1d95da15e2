"""The settings of embedded faces, single and in sequences: who is in them, and which biases are planted."""

from __future__ import annotations

from frown_jax.config.checks import Between, Form, LowHigh, OneOf, TupleOf, Whole
from frown_jax.config.setting import Setting
from frown_jax.config.settings_run import MILLION, SEED

_AMOUNTS = TupleOf(Form("AXIS=VALUE:AMOUNT", r"[^=]+=.+:[^:]+"))

FACES = (
    Setting(
        "data.faces.train",
        12271,
        Whole(1, 10 * MILLION),
        "Sets how many training images there are, validation included.",
    ),
    Setting(
        "data.faces.test",
        3068,
        Whole(1, 10 * MILLION),
        "Sets how many test images there are. Their people are never among the training images.",
    ),
    Setting("data.faces.seed", 0, SEED, "Sets the random seed of the people and of their photographs."),
    Setting(
        "data.faces.joint",
        "rafdb",
        OneOf(("rafdb", "balanced")),
        "Says how often each combination of emotion, race, gender and age occurs: with rafdb as often as in RAF-DB,"
        " with balanced all alike.",
    ),
    Setting(
        "data.faces.images_per_subject",
        3,
        Whole(1, MILLION),
        "Sets how many photographs there are of one person, all of them in one split.",
    ),
    Setting(
        "data.faces.strength",
        (0.4, 1.0),
        LowHigh(Between(0, 1.2)),
        "Sets the range of the intensity of expressions, where 1 is a full expression.",
        example="(0.4,1.0)",
    ),
    Setting(
        "data.faces.reweight",
        (),
        _AMOUNTS,
        "Makes the training images of a group or an emotion rarer or more frequent by a factor of at least 0. The "
        "factor 0 takes them out.",
        example="('race=African-American:0.1',)",
    ),
    Setting(
        "data.faces.spurious",
        "",
        OneOf(("", "race", "gender", "age", "background")),
        "Says what goes together with the emotion in the training images and not in the test images. The empty text"
        " plants nothing.",
    ),
    Setting(
        "data.faces.spurious_strength",
        0.0,
        Between(0, 1),
        "Sets how strongly `data.faces.spurious` goes together with the emotion: with 0 not at all, with 1 always.",
    ),
    Setting(
        "data.faces.skin_tone",
        "by_race",
        OneOf(("by_race", "shared")),
        "Says where skin tones come from: with by_race each race has its range, with shared all have one.",
    ),
    Setting(
        "data.faces.contrast",
        0.0,
        Between(0, 1),
        "Sets how much each photograph is exposed for its skin. With 0 the exposure is fixed and the contrast of "
        "expressions falls with melanin; with 1 each photograph is exposed for its skin.",
    ),
    Setting(
        "data.faces.group_style",
        (),
        _AMOUNTS,
        "Makes the expressions of a group look different, by an amount from 0 to 1.",
        example="('race=African-American:0.8',)",
    ),
    Setting(
        "data.faces.label_noise",
        (),
        _AMOUNTS,
        "Makes a share, from 0 to 1, of the training labels of a group wrong.",
        example="('gender=Female:0.2',)",
    ),
)

SEQUENCES = (
    Setting("data.sequences.per_subject", 5, Whole(1, MILLION), "Sets how many sequences there are of one person."),
    Setting(
        "data.sequences.frames",
        5,
        Whole(2, MILLION),
        "Sets how many frames a sequence has. The first is neutral and the last is the apex.",
    ),
    Setting("data.sequences.seed", 0, SEED, "Sets the random seed of the people and of their sequences."),
    Setting(
        "data.sequences.strength",
        (0.5, 1.0),
        LowHigh(Between(0, 1.2, above=True)),
        "Sets the range of the intensity of Action Units at the apex, where 1 is a full expression.",
        example="(0.5,1.0)",
    ),
    Setting(
        "data.sequences.looks",
        "by_label",
        OneOf(("by_label", "shared")),
        "Says whether a face looks like its labels: with by_label it does, with shared its gender and skin tone are"
        " drawn without looking at the labels.",
    ),
    Setting(
        "data.sequences.group_style",
        (),
        _AMOUNTS,
        "Makes the Action Units of a group quieter and more one-sided, by an amount from 0 to 1.",
        example="('gender=Female:0.8',)",
    ),
    Setting(
        "data.sequences.group_view",
        (),
        _AMOUNTS,
        "Shows a group from another side and in other light, by an amount from 0 to 1.",
        example="('gender=Female:1.0',)",
    ),
)
