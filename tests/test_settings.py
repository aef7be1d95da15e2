"""The table of settings: what each kind of check takes, what messages say, and that other rooms know the same words."""

import ast
import dataclasses
import pathlib

import ml_collections
import numpy as np
import pytest
from absl import flags
from ml_collections import config_flags

from frown_jax import config as configs
from frown_jax.config import reference
from frown_jax.config.checks import Between, Form, LowHigh, OneOf, Text, Tried, TupleOf, Whole, WordOr
from frown_jax.config.fields import SECTIONS, leaves
from frown_jax.data import load
from frown_jax.data.problems import Problems
from frown_jax.errors import ConfigError, DataError
from frown_jax.faces.recipe import Recipe
from frown_jax.faces.sequences import SequenceRecipe
from frown_jax.member import class_weights, losses, schedule
from frown_jax.models import build, conv
from frown_jax.runtime import command, packing
from frown_jax.training import check

ROOT = pathlib.Path(__file__).parent.parent
NAN, INF = float("nan"), float("inf")

# A check, what it says, values that it takes, values that it refuses.
KINDS = [
    (OneOf(("", "a", "b")), "one of '', a, b", ["", "a", "b"], ["c", "A", "a ", 1, None, ("a",)]),
    (Text(), "a text", ["", "x", "two\nlines"], [1, None, b"x", ("x",)]),
    (Text(may_be_empty=False), "a text of at least one character", ["x"], ["", 0]),
    (Form("NAME:NUMBER", "[a-z]+:[0-9]+"), "a text NAME:NUMBER", ["a:1"], ["a:", "a:1 ", ":1", "a:\u0663", 1]),
    (Whole(1, 9000), "a whole number from 1 to 9,000", [1, 9000], [0, 9001, 10**30, -1, 1.0, True, "1", None, NAN]),
    (Between(0, 1), "a number from 0 to 1", [0, 1, 0.5, 1e-300], [-1e-9, 1.001, NAN, INF, -INF, False, "0.5", None]),
    (Between(0, 1, above=True), "a number above 0 and at most 1", [1, 1e-9], [0, 0.0, -0.0, 1.1]),
    (Between(0, 1, below=True), "a number of at least 0 and below 1", [0, 0.99], [1, 1.0, -1]),
    (Between(0, 1, above=True, below=True), "a number above 0 and below 1", [0.5], [0, 1]),
    (
        WordOr("auto", Whole(1, 5)),
        "the word auto, or a whole number from 1 to 5",
        ["auto", "1", "5"],
        ["0", "6", "1.5", "many", "", 3, None, "9" * 5000],
    ),
    (
        WordOr("validation", Between(0, 1, above=True)),
        "the word validation, or a number above 0 and at most 1",
        ["validation", "0.5", "1", "1e-3"],
        ["0", "nan", "inf", "x", 0.5],
    ),
    (TupleOf(Whole(0, 9)), "a tuple of entries, each a whole number from 0 to 9", [(), (1,), (1, 1)], [1, [1], (10,)]),
    (
        TupleOf(Whole(0, 9), least=1, distinct=True),
        "a tuple of at least 1 entry, each a whole number from 0 to 9, and none twice",
        [(1,), (1, 2)],
        [(), (1, 1), (1, "2"), (True,), None],
    ),
    (Tried(ranges=False), "a tuple of values", [(), (1, 2), ("", "focal()")], [("log", 1, 2), 1, (None,)]),
    (
        LowHigh(Between(0, 2, above=True)),
        "a tuple (LOW, HIGH) with LOW at most HIGH, each a number above 0 and at most 2",
        [(1, 2), (1.0, 1.0)],
        [(2, 1), (0, 1), (1,), (1, 1, 1), (NAN, 1), (1, "2"), 1, "12"],
    ),
    (
        Tried(),
        "a tuple of values, or ('uniform', LOW, HIGH), or ('log', LOW, HIGH) above 0",
        [(), (1, 2.5), ("", "focal()"), ("uniform", 0, 1), ("log", 1e-4, 1e-2)],
        [1, "log", ("log",), ("log", 0, 1), ("log", 2, 1), ("uniform", -1, 1), ("log", "a", "b"), (None,), (True,)],
    ),
]


@pytest.mark.parametrize(("kind", "allowed", "good", "bad"), KINDS)
def test_what_a_check_takes(kind, allowed, good, bad):
    assert kind.allowed == allowed
    assert [value for value in good if kind.fault(value)] == []
    assert [value for value in bad if not kind.fault(value)] == []


def test_every_field_has_a_setting_and_every_setting_a_field():
    config = configs.default()
    assert dict(leaves(config)) == {name: s.default for name, s in configs.SETTINGS.items()}
    for name, setting in configs.SETTINGS.items():
        assert setting.name == name
        assert type(configs.field_of(config, name)) is type(setting.default)
    assert {name.rpartition(".")[0] for name in configs.SETTINGS} == set(SECTIONS)
    configs.check_fields(config)
    assert set(configs.SEARCHED.values()) <= set(configs.SETTINGS)


@pytest.mark.parametrize("name", configs.SETTINGS)
def test_every_setting_is_described(name):
    setting = configs.SETTINGS[name]
    first = setting.help.replace("`", "")[0]
    assert first.isupper(), setting.help
    assert setting.help.endswith("."), setting.help
    assert "\n" not in setting.help
    if isinstance(setting.default, tuple):  # as a command line writes it, and allowed
        setting.validate(ast.literal_eval(setting.example))


# Settings of every kind, with values of a wrong type and out of range.
REFUSED = [
    ("epochs", 10**30, "1000000000000000000000000000000: a whole number from 1 to 1,000,000"),
    ("epochs", True, "True: a whole number from 1 to 1,000,000"),
    ("epochs", "thirty", "'thirty': a whole number from 1 to 1,000,000"),
    ("optimiser.learning_rate", NAN, "nan: a number from 0 to 1,000"),
    ("optimiser.learning_rate", -1e-3, "-0.001: a number from 0 to 1,000"),
    ("optimiser.dropout_rate", 1.0, "1.0: a number of at least 0 and below 1"),
    ("data.val_fraction", 0.0, "0.0: a number above 0 and below 1"),
    ("threshold", "1.5", "'1.5': the word validation, or a number above 0 and below 1"),
    ("threshold", 0.5, "0.5: the word validation, or a number above 0 and below 1, written as text"),
    ("members_per_device", "0", "'0': the word auto, or a whole number from 1 to 1,000,000"),
    ("packing", "vamp", "'vamp': one of auto, vmap, map"),
    ("seeds", 4, "4: write --config.seeds='(0,1,2,3)', or :seeds=4 after the config file"),
    ("seeds", (), "(): a tuple of at least 1 entry, each a whole number from 0 to 4,294,967,295, and none twice"),
    ("seeds", (0, 1, 0), "(0, 1, 0): 0 occurs twice"),
    ("seeds", (0, 2**32), "(0, 4294967296): 4294967296 is not a whole number from 0 to 4,294,967,295"),
    ("cohort.draws", 8, "8: write --config.cohort.draws='(0,1)'"),
    ("cohort.train", ("Female",), "('Female',): 'Female' is not a text VALUE:NUMBER"),
    ("data.strata", "race", "'race': write --config.data.strata=\"('emotion','race')\""),
    ("data.dir", "a\nb\n" * 100, None),  # a path of two lines is a text
    ("data.test", "a\nb\n" * 100, "'" + r"a\nb\n" * 19 + r"a\nb\n"[:5] + "...: one of given, stratified, cohort"),
    ("data.faces.strength", (1.0, 0.4), "(1.0, 0.4): a tuple (LOW, HIGH) with LOW at most HIGH, each a number from"),
    ("data.faces.reweight", ("race=Asian",), "('race=Asian',): 'race=Asian' is not a text AXIS=VALUE:AMOUNT"),
    ("search.lr", 0.1, "0.1: write --config.search.lr=\"('log',1e-4,1e-2)\""),
]


@pytest.mark.parametrize(("field", "value", "message"), REFUSED)
def test_messages_are_one_line_with_what_is_allowed(field, value, message):
    config = configs.default().to_dict()
    section = config
    for part in field.split(".")[:-1]:
        section = section[part]
    section[field.rpartition(".")[2]] = value
    config = ml_collections.ConfigDict(config)
    if message is None:
        check.validate(config)
        return
    with pytest.raises(ConfigError) as caught:
        check.validate(config)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"--config.{field} is {message}")


def test_fields_that_there_are_not_and_fields_that_are_missing():
    config = configs.default()
    config.optimiser.learning_rat = 1.0
    with pytest.raises(
        ConfigError, match=r"optimiser.learning_rat is no setting; did you mean optimiser.learning_rate"
    ):
        check.validate(config)
    config = configs.default()
    del config.model["width"]
    with pytest.raises(ConfigError, match=r"model.width is missing: it is a whole number from 1 to 4,096"):
        check.validate(config)


def _parsed(capsys, *overrides):
    """The config of a command line, or the message."""
    values, argv = flags.FlagValues(), ["launch.py", f"--config={ROOT}/configs/baseline.py", *overrides]
    config_flags.DEFINE_config_file("config", None, flag_values=values, sys_argv=argv)
    try:
        command.parse(argv, values)
    except SystemExit as e:
        assert e.code == command.EXIT_USAGE
        return capsys.readouterr().err
    return values["config"].value


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # ml_collections
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        # ml_collections would make the tuple (4,) of it: one seed, where four were meant.
        (("--config.seeds=4",), "--config.seeds is 4: write --config.seeds='(0,1,2,3)', or :seeds=4 after the config"),
        (("--config.seeds", "4"), "--config.seeds is 4: write"),
        (("--config.cohort.draws=8",), "--config.cohort.draws is 8: write --config.cohort.draws='(0,1)'"),
        (("--config.epochs=abc",), "--config.epochs is 'abc': a whole number from 1 to 1,000,000"),
        (("--config.epochs=1.5",), "--config.epochs is '1.5': a whole number from 1 to 1,000,000"),
        (
            ("--config.optimiser.learning_rate=a: b",),
            "--config.optimiser.learning_rate is 'a': a number from 0 to 1,000",
        ),
    ],
)
def test_command_lines_are_refused_in_the_same_words(capsys, overrides, message):
    said = _parsed(capsys, *overrides)
    assert said.startswith(f"error: {message}")
    assert said.count("\n") == 1


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # ml_collections
def test_command_lines_that_are_right(capsys):
    config = _parsed(
        capsys, "--config.seeds=(4,)", "--config.data.strata=race", "--config.epochs=7", "--config.mitigation=4"
    )
    assert (config.seeds, config.data.strata, config.epochs, config.mitigation) == ((4,), ("race",), 7, "4")


def _words(name):
    return configs.SETTINGS[name].check.words


def test_other_rooms_know_the_words_of_the_table():
    assert _words("packing") == packing.PACKINGS
    assert _words("model.conv") == conv.LOWERINGS
    assert set(_words("schedule.name")) == set(schedule.SCHEDULES)
    assert set(_words("loss.normaliser")) == set(losses.NORMALISERS)
    for how in _words("loss.class_weights"):
        assert np.isfinite(class_weights.from_counts(how, np.array([3, 1]))).all()
    for how in _words("data.on_bad"):
        Problems(how)
    for name in _words("data.name"):
        data = configs.default().data
        data.name = name
        try:
            load.source_of(data)
        except DataError as e:  # no folder, but a reader
            assert "--config.data.name" not in str(e)


@pytest.mark.parametrize("name", _words("model.name"))
@pytest.mark.parametrize("trainable", _words("model.trainable"))
def test_networks_know_the_words_of_the_table(name, trainable):
    trained = set()
    for stem in _words("model.stem"):
        for dtype in _words("model.dtype"):
            c = configs.default().model
            c.name, c.trainable, c.stem, c.dtype = name, trainable, stem, dtype
            network = build.network(c, 3)
            trained.add(tuple(network.is_trained((part,)) for part in ("conv1", "layer4_0", "fc") if "res" in name))
    expected = {"all": (True, True, True), "last_block": (False, True, True), "head": (False, False, True)}
    assert trained == {expected[trainable] if "res" in name else ()}


@pytest.mark.parametrize(("section", "recipe"), [("faces", Recipe), ("sequences", SequenceRecipe)])
def test_recipes_have_the_defaults_and_the_words_of_the_table(section, recipe):
    assert dataclasses.asdict(recipe()) == configs.default().data[section].to_dict()
    for field in dataclasses.fields(recipe):
        found = configs.SETTINGS[f"data.{section}.{field.name}"].check
        if isinstance(found, OneOf):
            for word in found.words:
                recipe(**{field.name: word})
            with pytest.raises(ValueError, match=field.name):
                recipe(**{field.name: "another"})
        if isinstance(found, LowHigh):
            for value in ((found.each.high, found.each.high), (0.0, found.each.high + 0.1), (-0.1, 1.0), (0.0, 1.0)):
                refused = bool(found.fault(value))
                if refused:
                    with pytest.raises(ValueError, match=field.name):
                        recipe(**{field.name: value})
                else:
                    recipe(**{field.name: value})


def test_the_reference_is_what_the_command_writes():
    committed = (ROOT / "docs" / "settings.md").read_text()
    assert committed == reference.page(), "python -m frown_jax.config.reference --out=docs/settings.md"
    for name in configs.SETTINGS:
        assert committed.count(f"| `{name}` |") == 1
