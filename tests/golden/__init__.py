"""Outputs of torch that the tests compare with; made by make.py."""

# ResNet18s: width, classes, image size, seed.
RESNETS = ((64, 1000, 224, 0), (64, 7, 64, 1), (16, 7, 64, 2))
