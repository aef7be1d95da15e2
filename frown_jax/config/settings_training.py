"""The settings of the network and of its training."""

from __future__ import annotations

from frown_jax.config.checks import Between, OneOf, Text, Whole
from frown_jax.config.setting import Setting
from frown_jax.config.settings_run import MILLION

_SHARE = Between(0, 1)

MODEL = (
    Setting(
        "model.name",
        "resnet18",
        OneOf(("resnet18", "resnet10", "vgg16", "vgg16_bn")),
        "Names the network. resnet10 has one block a stage where resnet18 has two, and vgg16_bn is vgg16 with batch"
        " norms.",
    ),
    Setting(
        "model.width",
        64,
        Whole(1, 4096),
        "Sets the number of channels of the first stage, with which all others grow. Torchvision's networks have 64.",
    ),
    Setting(
        "model.image_size",
        224,
        # Five halvings: below 32 pixels the last stage of a ResNet would see less than one pixel.
        Whole(32, 1024),
        "Sets the side of the square input in pixels. Images are shrunk or grown to it.",
    ),
    Setting(
        "model.stem",
        "imagenet",
        OneOf(("imagenet", "small")),
        "Says how a ResNet begins: imagenet is a convolution of 7x7 with stride 2 and then pooling, small is a "
        "convolution of 3x3 without these, for images of 32 pixels.",
    ),
    Setting(
        "model.trainable",
        "all",
        OneOf(("all", "last_block", "head")),
        "Says what is trained: all of the network, last_block and the head, or the head alone. The rest keeps the "
        "weights that it begins with.",
    ),
    Setting(
        "model.weights",
        "",
        Text(),
        "Names a .pth or .safetensors file of torchvision's ResNet18 or VGG16 to begin with. The empty text begins "
        "with random weights.",
    ),
    Setting(
        "model.pretrained",
        "",
        OneOf(("", "faces")),
        "Says what the network learns first, where there are no `model.weights`: with faces it learns the emotions "
        "of other embedded faces, with the empty text nothing.",
    ),
    Setting(
        "model.hidden",
        0,
        Whole(0, 65536),
        "Sets the number of units of each hidden dense layer of a VGG. With 0 it is 64 times `model.width`, as "
        "torchvision has it.",
    ),
    Setting(
        "model.features",
        "auto",
        OneOf(("auto", "cached", "computed")),
        "Says where the features of a frozen network come from: cached computes them once, computed computes them "
        "in every step, and auto caches them where images are not augmented.",
    ),
    Setting(
        "model.dtype",
        "auto",
        OneOf(("auto", "float32", "bfloat16")),
        "Sets the number format of the computation. auto takes float32 on a CPU and bfloat16 elsewhere; parameters "
        "and logits are float32 always.",
    ),
    Setting(
        "model.conv",
        "auto",
        OneOf(("auto", "xla", "map", "unroll", "gemm", "blocks", "taps")),
        "Says how convolutions are computed. auto looks up the fastest way in a measured table, and each other word"
        " forces one way.",
    ),
)

OPTIMISER = (
    Setting(
        "optimiser.learning_rate",
        1e-3,
        Between(0, 1000),
        "Sets the learning rate of AdamW, before `schedule` scales it.",
    ),
    Setting("optimiser.weight_decay", 1e-3, Between(0, 1000), "Sets the decoupled weight decay of AdamW."),
    Setting(
        "optimiser.dropout_rate",
        0.0,
        Between(0, 1, below=True),
        "Sets the share of the features before the head that dropout sets to zero in training.",
    ),
)

SCHEDULE = (
    Setting(
        "schedule.name",
        "cosine",
        OneOf(("constant", "step", "plateau", "cosine")),
        "Says how the learning rate goes: constant keeps it, step drops it every `schedule.patience` epochs, "
        "plateau drops it when the validation loss stops falling, and cosine lets it fall to zero along a cosine.",
    ),
    Setting(
        "schedule.patience",
        3,
        Whole(1, MILLION),
        "Sets how many epochs lie between two drops (step), or pass without a lower validation loss before a drop "
        "(plateau).",
    ),
    Setting("schedule.factor", 0.1, _SHARE, "Sets what a drop multiplies the learning rate by."),
    Setting(
        "schedule.warmup_epochs",
        0.0,
        Between(0, MILLION),
        "Sets in how many epochs the learning rate grows from zero. The number need not be whole.",
    ),
)

STOPPING = (
    Setting(
        "stopping.patience",
        50,
        Whole(0, MILLION),
        "Stops a member after more epochs than this without a better validation AUROC.",
    ),
    Setting(
        "stopping.min_improvement",
        1e-4,
        _SHARE,
        "Sets by how much the validation AUROC, which lies between 0 and 1, must grow to count as better.",
    ),
)

LOSS = (
    Setting(
        "loss.class_weights",
        "inverse",
        OneOf(("none", "inverse", "effective_number", "repo")),
        "Says how much a class counts in the loss: none counts all alike, inverse counts by the inverse of the "
        "number of training images, effective_number by the effective number of these (Cui et al. 2019), and repo "
        "as the first study's code does.",
    ),
    Setting(
        "loss.normaliser",
        "count",
        OneOf(("count", "weight", "known")),
        "Says what the summed loss of a batch is divided by: count is the number of images, weight is the sum of "
        "their weights, and known is, of Action Units, the number of labels that are known.",
    ),
)

AUGMENT = (
    Setting("augment.flip", 0.5, _SHARE, "Sets the probability that an image is mirrored."),
    Setting(
        "augment.shift",
        0.06,
        Between(0, 0.5),
        "Sets the largest shift of an image in either direction, as a share of its side. Edges repeat.",
    ),
    Setting("augment.invert", 0.0, _SHARE, "Sets the probability that an image is inverted to its negative."),
    Setting(
        "augment.invert_normalised",
        0.0,
        _SHARE,
        "Says when images are inverted: below 0.5 before they are normalised, from 0.5 on after it, as the first "
        "study's code does.",
    ),
    Setting(
        "augment.brightness",
        0.0,
        _SHARE,
        "Sets how far the factor of an image's brightness may lie from 1. The factor is drawn uniformly.",
    ),
    Setting(
        "augment.contrast",
        0.0,
        _SHARE,
        "Sets how far the factor of an image's contrast about its mean may lie from 1. The factor is drawn uniformly.",
    ),
)
