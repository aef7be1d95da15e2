"""The settings of a whole run, of a search, and of draws of subjects."""

from __future__ import annotations

from frown_jax.config.checks import Between, Form, OneOf, Text, Tried, TupleOf, Whole, WordOr
from frown_jax.config.setting import Setting
from frown_jax.config.words import SEARCHED

MILLION = 1_000_000
SEED = Whole(0, 2**32 - 1)  # what a JAX key and a NumPy generator both take
_SUBJECTS = Form("VALUE:NUMBER", r".+:[0-9]+")

RUN = (
    Setting(
        "method",
        "baseline",
        Text(may_be_empty=False),
        "Names the runs in every table. The points of a grid have names of their own.",
    ),
    Setting(
        "mitigation",
        "",
        Text(),
        "Says what is done about bias: NAME(SETTING=VALUE), several joined by +. The empty text does nothing. "
        "[methods.md](methods.md) lists all names with their settings.",
        example="group_dro(by='race') + balanced_sampling(by='race')",
    ),
    Setting(
        "fidelity",
        "sound",
        OneOf(("sound", "paper", "repo")),
        "Says which reading of the first study this is: sound is what a careful researcher would do, paper is what "
        "the text says, repo is what the code did. The argument `fidelity=` after the config file sets this and all"
        " that goes with it; [fidelity.md](fidelity.md) lists the differences.",
    ),
    Setting(
        "hparams",
        "",
        Text(),
        "Names the `hparams.json` that a search has left. Its values are set first, and the command line's own "
        "settings win over them.",
    ),
    Setting(
        "seeds",
        (0, 1, 2, 3),
        TupleOf(SEED, least=1, distinct=True),
        "Lists the random seeds. Each one gives a member of its own at every point of the grid, and members train "
        "together.",
        example="(0,1,2,3)",
        shortcut=", or :seeds=4 after the config file",
    ),
    Setting(
        "seeds_until",
        0,
        Whole(0, 10_000),
        "Adds seeds until the answer is known, up to this many; 0 keeps to `seeds`. The grid is looked at after "
        "`seeds`, after twice as many and so on. Methods whose comparisons are settled, or that more seeds would not "
        "settle, get no more ([statistics.md](statistics.md)).",
    ),
    Setting(
        "epochs",
        30,
        Whole(1, MILLION),
        "Sets after how many passes over the training images a member ends. Early stopping can end it sooner.",
    ),
    Setting("batch_size", 32, Whole(1, MILLION), "Sets how many images a member sees in one training step."),
    Setting(
        "evaluation_batch_size",
        128,
        Whole(1, MILLION),
        "Sets how many images are evaluated at once. It changes speed and memory, and not what is measured.",
    ),
    Setting(
        "packing",
        "auto",
        OneOf(("auto", "vmap", "map")),
        "Says how the members of a program share a device: vmap batches them into every operation, map runs them "
        "one after another, and auto takes map on a CPU and vmap elsewhere.",
    ),
    Setting(
        "members_per_device",
        "auto",
        WordOr("auto", Whole(1, MILLION)),
        "Sets how many members one device trains at once. With auto it is measured how many fit in memory.",
    ),
    Setting(
        "devices_per_member",
        1,
        Whole(1, MILLION),
        "Sets how many devices share each batch of one member, for networks that are large for one device. It must "
        "divide `batch_size` and the number of devices.",
    ),
    Setting(
        "checkpoint_every",
        1,
        Whole(1, MILLION),
        "Sets how many epochs lie between checkpoints. A run that is killed repeats at most so many epochs; a run "
        "that is asked to stop keeps its last epoch and repeats none.",
    ),
    Setting(
        "threshold",
        "0.5",
        WordOr("validation", Between(0, 1, above=True, below=True)),
        "Sets the probability from which an Action Unit counts as present. With validation, each unit gets the "
        "threshold that has the highest F1 score on the validation images.",
    ),
)


# Values that a search may try, as a command line writes them; of the others it can draw from a range too.
_TRIED = {"patience": "(3,8)", "batch_size": "(32,64)", "mitigation": "('','focal()')"}


def _tried(name: str, field: str) -> Setting:
    ranges = name not in _TRIED
    return Setting(
        f"search.{name}",
        (),
        Tried(ranges),
        f"Lists the values of `{field}` that a search tries, each of them a value that is allowed there. The empty "
        "tuple leaves that setting alone." + " A range needs a `search.budget`." * ranges,
        example="('log',1e-4,1e-2)" if ranges else _TRIED[name],
    )


SEARCH = (
    *(_tried(name, field) for name, field in SEARCHED.items()),
    Setting(
        "search.budget",
        0,
        Whole(0, MILLION),
        "Sets how many combinations are drawn at random, where there are more. With 0 all combinations are trained.",
    ),
    Setting("search.seed", 0, SEED, "Sets the random seed by which combinations are drawn."),
)

COHORT = (
    Setting(
        "cohort.by",
        "",
        Text(),
        "Names the attribute that divides the subjects, such as gender. The empty text keeps the data's own split; "
        "anything else needs `data.test` to be cohort.",
    ),
    Setting(
        "cohort.train",
        (),
        TupleOf(_SUBJECTS),
        "Says how many subjects with each value of the attribute are drawn for training and validation together.",
        example="('Female:37',)",
    ),
    Setting(
        "cohort.test",
        (),
        TupleOf(_SUBJECTS),
        "Says how many subjects with each value of the attribute are drawn for the test.",
        example="('Female:10','Male:10')",
    ),
    Setting(
        "cohort.draws",
        (0,),
        TupleOf(SEED, least=1, distinct=True),
        "Numbers the random draws of subjects. Each draw gives one member for every seed.",
        example="(0,1)",
    ),
    Setting(
        "cohort.draw",
        0,
        SEED,
        "Holds the draw of one member. It is filled in from `cohort.draws`, so there is no need to set it.",
    ),
)

VERDICTS = (
    Setting(
        "verdicts.margin",
        0.02,
        Between(0, 1, above=True),
        "Sets up to which difference two methods count as practically equal, in units of the metric.",
    ),
    Setting(
        "verdicts.primary",
        ("accuracy", "worst_group_accuracy", "accuracy_difference"),
        TupleOf(Text(may_be_empty=False), least=1, distinct=True),
        "Declares the values that verdicts are about: a metric, METRIC:ATTRIBUTE, or METRIC:ATTRIBUTE:GROUP. All else "
        "is exploratory ([statistics.md](statistics.md)).",
        example="('accuracy','worst_group_accuracy:race')",
    ),
)
