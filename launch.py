"""Trains a config's grid of members and reports on them: python launch.py --config=configs/baseline.py"""

from frown_jax import launch

if __name__ == "__main__":
    launch.main()
