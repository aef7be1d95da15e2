"""Outputs of torch that the tests compare with; made by make.py."""

# ResNet18s: width, classes, image size, seed.
RESNETS = ((64, 1000, 224, 0), (64, 7, 64, 1), (16, 7, 64, 2))

# width, classes, size, seed of the VGG16 files: 224 pools 7 x 7 features, 96 and 64 pool fewer than 7
VGGS = ((4, 5, 224, 3), (4, 5, 96, 4), (2, 3, 64, 5))

# Network, width, size, seed. Not every seed will do: where a block's two branches cancel, float32 is off by percents,
# in zennit as well.
RELEVANCE = (("resnet18", 4, 64, 10), ("vgg16", 2, 64, 8))
