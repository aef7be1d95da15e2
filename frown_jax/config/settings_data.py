"""The settings of the data: where it lies, what is predicted, how it is split."""

from __future__ import annotations

from frown_jax.config.checks import Between, Form, OneOf, Text, TupleOf, Whole
from frown_jax.config.setting import Setting
from frown_jax.config.settings_run import MILLION, SEED
from frown_jax.config.words import DATA, VALIDATIONS

_NAME = Text(may_be_empty=False)
_SHARE = Between(0, 1, above=True, below=True)

DATA_SETTINGS = (
    Setting(
        "data.name",
        "faces",
        OneOf(DATA),
        "Names the data set. faces and face_sequences are rendered on the spot; the others are read from "
        "`data.dir`, and combined joins those that `data.parts` names. [data.md](data.md) shows the folders.",
    ),
    Setting("data.dir", "", Text(), "Names the folder of the data. faces and face_sequences need none."),
    Setting(
        "data.parts",
        (),
        TupleOf(Form("NAME:FOLDER", r"[^:]+:.*")),
        "Lists the data sets that combined joins, at least two. Labels that one of them does not have are not known"
        " there.",
        example="('ckplus:DIR','actor_study:DIR')",
    ),
    Setting(
        "data.target",
        "emotion",
        OneOf(("emotion", "aus")),
        "Says what is predicted: with emotion one emotion of each image, with aus which Action Units it shows.",
    ),
    Setting(
        "data.aus",
        (),
        TupleOf(_NAME, distinct=True),
        "Lists the Action Units that are predicted. The empty tuple takes those that `data.min_occurrences` images "
        "show.",
        example="('AU1','AU12')",
    ),
    Setting(
        "data.min_occurrences",
        8000,
        Whole(1, 1000 * MILLION),
        "Sets how many images of the whole data set must show an Action Unit, so that it is predicted.",
    ),
    Setting(
        "data.every",
        1,
        Whole(1, MILLION),
        "Takes one of so many frames of the Actor Study. With 1 all frames are taken.",
    ),
    Setting(
        "data.cache_dir",
        "",
        Text(),
        "Names the folder that keeps prepared data and compiled programs. The empty text takes `$FROWN_JAX_CACHE`, "
        "or `~/.cache/frown_jax` where that is not set.",
    ),
    Setting(
        "data.on_bad",
        "error",
        OneOf(("error", "skip")),
        "Says what unreadable images and labels do: with error they stop the run, with skip they are left out and "
        "listed in `data_report.txt`.",
    ),
    Setting(
        "data.validation",
        "stratified",
        OneOf(VALIDATIONS),
        "Says where validation images come from: stratified holds out training images by `data.strata`, study holds"
        " them out at random as the first study did (seed 5), and test takes the test images as the study's code "
        "does, so that selection sees the test.",
    ),
    Setting(
        "data.val_fraction",
        0.2,
        _SHARE,
        "Sets the share of the training images that is held out for validation. Of draws of subjects it is the "
        "share of the training subjects.",
    ),
    Setting(
        "data.test_fraction",
        0.2,
        _SHARE,
        "Sets the share of all images that is held out for the test, where the data set has no test split. Where it"
        " has one that is divided anew, its share stays.",
    ),
    Setting(
        "data.test",
        "given",
        OneOf(("given", "stratified", "cohort")),
        "Says which images are the test: given keeps the data's own split, stratified pools all images and divides "
        "them anew by `data.strata`, and cohort takes those of the subjects that each member draws.",
    ),
    Setting(
        "data.strata",
        ("emotion", "race"),
        TupleOf(_NAME, least=1, distinct=True),
        "Lists the columns whose shares are kept where images are held out. Columns that the data does not have are"
        " noted and left out.",
        example="('emotion','race')",
    ),
    Setting("data.split_seed", 5, SEED, "Sets the random seed by which images are held out."),
    Setting(
        "data.attributes",
        (),
        TupleOf(_NAME, distinct=True),
        "Lists the columns by which results are reported. The empty tuple takes all attributes that the data has.",
        example="('race','gender')",
    ),
    Setting(
        "data.classes",
        (),
        TupleOf(_NAME, distinct=True),
        "Lists the emotions beyond the usual seven that are kept as classes.",
        example="('Contempt',)",
    ),
    Setting(
        "data.subjects",
        "",
        Text(),
        "Names a CSV with a column subject and the attributes of the people, for ckplus and actor_study. The empty "
        "text takes `subjects.csv` in `data.dir`, if there is one.",
    ),
    Setting(
        "data.frames",
        3,
        Whole(1, MILLION),
        "Sets how many frames at the end of a CK+ sequence get the labels of its peak.",
    ),
    Setting(
        "data.onset",
        0.0,
        Between(0, 1),
        "Sets from which share of the way to the peak on the frames of a CK+ sequence get the labels of its peak. "
        "With 0, `data.frames` decides.",
    ),
    Setting(
        "data.neutral",
        1,
        Whole(0, MILLION),
        "Sets how many frames at the beginning of a CK+ sequence are taken as neutral.",
    ),
    Setting(
        "data.per_class",
        0,
        Whole(0, MILLION),
        "Sets how many training images of each class of CIFAR-10S are taken. With 0 all are.",
    ),
    Setting(
        "data.emotion_codes",
        (),
        TupleOf(_NAME),
        "Lists the emotions that the numbers 0, 1, ... stand for, where a manifest has numbers as labels.",
        example="('Anger','Fear')",
    ),
    Setting(
        "data.ignore_labels",
        (),
        TupleOf(_NAME),
        "Lists the emotions whose images a manifest leaves out.",
        example="('Contempt',)",
    ),
)
