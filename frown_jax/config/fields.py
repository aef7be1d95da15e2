"""Every setting with its default."""

from __future__ import annotations

import ml_collections
from ml_collections import ConfigDict

FIDELITIES = ("sound", "paper", "repo")
NETWORKS = ("resnet18", "resnet10", "vgg16", "vgg16_bn")
DATA = ("faces", "face_sequences", "rafdb", "ckplus", "actor_study", "manifest", "cifar10s", "combined")
AU_DATA = ("face_sequences", "combined", "ckplus", "actor_study", "manifest")  # that the AU studies run on
VALIDATIONS = ("stratified", "study", "test")
TESTS = ("given", "stratified", "cohort")
TARGETS = ("emotion", "aus")
FEATURES = ("auto", "cached", "computed")
PRETRAINED = ("", "faces")
PRIMARY = ("accuracy", "worst_group_accuracy", "accuracy_difference")

# What the section `search` can vary, and the fields that it sets.
SEARCHED = {
    "lr": "optimiser.learning_rate",
    "weight_decay": "optimiser.weight_decay",
    "dropout": "optimiser.dropout_rate",
    "patience": "stopping.patience",
    "batch_size": "batch_size",
    "mitigation": "mitigation",
}


def default() -> ConfigDict:
    """Every field.

    Sections optimiser, schedule, stopping, loss and augment may differ between members of one program.
    """
    c = ml_collections.ConfigDict()
    c.method = "baseline"  # name of the runs in every table
    c.mitigation = ""  # name(setting=value), several joined by '+'; docs/methods.md
    c.fidelity = "sound"  # reading of the study: sound | paper | repo (docs/fidelity.md)
    c.hparams = ""  # hparams.json of a search, read before the command line's own settings
    c.seeds = (0, 1, 2, 3)  # one member each, trained together
    c.epochs = 30  # at most
    c.batch_size = 32  # images per member and step
    c.evaluation_batch_size = 128
    c.packing = "auto"  # members of a program: vmap (batched) | map (one after another) | auto (map on CPU)
    c.members_per_device = "auto"  # trained at once; a number, or as many as fit in memory
    c.devices_per_member = 1  # above 1: devices that share each batch of a large network
    c.checkpoint_every = 1  # epochs; a run that is killed repeats at most so many, one that is asked to stop none
    c.threshold = "0.5"  # of Action Units: a probability, or 'validation': each one's, of highest F1 on validation

    c.data = ml_collections.ConfigDict()
    c.data.name = "faces"  # faces | face_sequences | rafdb | ckplus | actor_study | manifest | cifar10s | combined
    c.data.dir = ""  # folder of the data, but for faces
    c.data.parts = ()  # combined: ('ckplus:DIR', 'actor_study:DIR'), labels that a set does not have are not known
    c.data.target = "emotion"  # what is predicted: emotion | aus (Action Units)
    c.data.aus = ()  # Action Units, ('AU1', 'AU12'); () is those with min_occurrences
    c.data.min_occurrences = 8000  # images that show an Action Unit, in the whole data set
    c.data.every = 1  # actor_study: of so many frames, one is taken
    c.data.cache_dir = ""  # default: $FROWN_JAX_CACHE or ~/.cache/frown_jax
    c.data.on_bad = "error"  # unreadable images and labels: error | skip (listed in data_report.txt)
    c.data.validation = "stratified"  # stratified | study (random, seed 5) | test (the study's code; leaks)
    c.data.val_fraction = 0.2  # of the training images
    c.data.test_fraction = 0.2  # where a data set has no test split; otherwise the share stays
    c.data.test = "given"  # given | stratified: pooled and divided anew by `strata` | cohort: by members' own draws
    c.data.strata = ("emotion", "race")  # columns whose shares are kept where images are held out
    c.data.split_seed = 5
    c.data.attributes = ()  # columns to report by group; () is all that there are
    c.data.classes = ()  # manifest: emotion names beyond the seven
    c.data.subjects = ""  # ckplus, actor_study: CSV of subject and attributes; by default DIR/subjects.csv
    c.data.frames = 3  # ckplus: of the end of a sequence, that get its labels
    c.data.onset = 0.0  # ckplus: above 0, frames from this share of the way to the peak on, in place of `frames`
    c.data.neutral = 1  # ckplus: of its beginning
    c.data.per_class = 0  # cifar10s: training images of each class; 0 is all
    c.data.emotion_codes = ()  # manifest: names of integer labels 0, 1, ...
    c.data.ignore_labels = ()  # manifest: emotions to leave out
    c.data.faces = ml_collections.ConfigDict()  # the recipe, see frown_jax/faces/recipe.py
    c.data.faces.train = 12271
    c.data.faces.test = 3068
    c.data.faces.seed = 0
    c.data.faces.joint = "rafdb"  # rafdb | balanced
    c.data.faces.images_per_subject = 3
    c.data.faces.strength = (0.4, 1.0)
    c.data.faces.reweight = ()
    c.data.faces.spurious = ""
    c.data.faces.spurious_strength = 0.0
    c.data.faces.skin_tone = "by_race"  # by_race | shared
    c.data.faces.contrast = 0.0
    c.data.faces.group_style = ()
    c.data.faces.label_noise = ()

    c.data.sequences = ml_collections.ConfigDict()  # see frown_jax/faces/sequences.py
    c.data.sequences.per_subject = 5
    c.data.sequences.frames = 5
    c.data.sequences.seed = 0
    c.data.sequences.strength = (0.5, 1.0)
    c.data.sequences.looks = "by_label"  # by_label | shared: looks have nothing to do with gender and skin tone
    c.data.sequences.group_style = ()
    c.data.sequences.group_view = ()

    c.model = ml_collections.ConfigDict()
    c.model.name = "resnet18"  # resnet18 | resnet10 | vgg16 | vgg16_bn
    c.model.width = 64  # channels of the first stage; torchvision's is 64
    c.model.image_size = 224  # pixels, side of the input
    c.model.stem = "imagenet"  # imagenet (7x7, stride 2, pooled) | small (3x3: images of 32 pixels)
    c.model.trainable = "all"  # all | last_block | head
    c.model.weights = ""  # local .pth or .safetensors of torchvision's ResNet18 or VGG16; '' starts from scratch
    c.model.pretrained = ""  # without weights: 'faces' trains on emotions of other embedded faces first
    c.model.hidden = 0  # vgg16: width of the dense layers; 0 is 64 times `width`, torchvision's
    c.model.features = "auto"  # of a frozen network: cached (computed once) | computed | auto (cached, not augmented)
    c.model.dtype = "auto"  # float32 | bfloat16 | auto (bfloat16 on GPU and TPU)
    c.model.conv = "auto"  # auto (measured table) | xla | map | unroll | gemm | blocks | taps

    c.optimiser = ml_collections.ConfigDict()  # AdamW
    c.optimiser.learning_rate = 1e-3
    c.optimiser.weight_decay = 1e-3
    c.optimiser.dropout_rate = 0.0  # before the head

    c.schedule = ml_collections.ConfigDict()
    c.schedule.name = "cosine"  # constant | step | plateau | cosine
    c.schedule.patience = 3  # epochs between drops (step), or without lower validation loss (plateau)
    c.schedule.factor = 0.1  # of a drop
    c.schedule.warmup_epochs = 0.0

    c.stopping = ml_collections.ConfigDict()
    c.stopping.patience = 50  # stop after more epochs than this without better validation AUROC
    c.stopping.min_improvement = 1e-4

    c.loss = ml_collections.ConfigDict()
    c.loss.class_weights = "inverse"  # none | inverse | effective_number | repo
    c.loss.normaliser = "count"  # divide by: count | weight | known (of Action Units: labels that are known)

    c.search = ml_collections.ConfigDict()  # values to try, (): the setting stays; ('log', LOW, HIGH): a range
    for name in SEARCHED:
        c.search[name] = ()
    c.search.budget = 0  # random combinations; 0: all of them
    c.search.seed = 0  # of the draw

    c.cohort = ml_collections.ConfigDict()  # subjects of a member, drawn from data.test='cohort'
    c.cohort.by = ""  # attribute that divides them; '' takes the data's own split
    c.cohort.train = ()  # subjects for training and validation, ('Female:37',)
    c.cohort.test = ()  # ('Female:10', 'Male:10')
    c.cohort.draws = (0,)  # random draws of subjects, one member each and seed
    c.cohort.draw = 0  # set by `draws`

    c.verdicts = ml_collections.ConfigDict()  # of the analysis; nothing is trained again for another choice
    c.verdicts.margin = 0.02  # differences up to this are practically equal
    c.verdicts.primary = PRIMARY  # values that verdicts are about: metric, metric:attribute or metric:attribute:group

    c.augment = ml_collections.ConfigDict()  # training only
    c.augment.flip = 0.5
    c.augment.shift = 0.06
    c.augment.invert = 0.0
    c.augment.invert_normalised = 0.0
    c.augment.brightness = 0.0
    c.augment.contrast = 0.0
    return c


def field_of(config: ConfigDict, field: str) -> object:
    """The value of a dotted field."""
    value: object = config
    for name in field.split("."):
        value = getattr(value, name)
    return value
