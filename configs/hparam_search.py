"""The first study's hyperparameter search: 48 combinations, chosen by validation AUROC.

  python launch.py --config=configs/hparam_search.py
      Embedded faces, quick settings, one seed.
  python launch.py --config=configs/hparam_search.py:rafdb,fidelity=repo --config.data.dir=DIR
      RAF-DB as the study's code did it: without class weights (they came later), on 20 % of train.
  python launch.py --config=configs/hparam_search.py --config.search.lr='(1e-3,4e-3,1e-2)' --config.search.dropout='()'
      Another space; () leaves a setting as it is.
  python launch.py --config=configs/hparam_search.py --config.search.lr="('log',1e-4,1e-2)" --config.search.budget=12
      Twelve random combinations.

It prints and stores the table (search.csv) and the best combination, which other configs take:

  python launch.py --config=configs/baseline.py --config.hparams=runs/hparam_search-.../hparams.json

Patience 3 is read from the training of patience 6; with fidelity=repo dropout changes nothing: 12 trainings, otherwise
24. Batch sizes are programs of their own. Arguments after the colon as configs/baseline.py's; seeds=1 unless given.
"""

from frown_jax.configs import baseline


def get_config(arg=None):
    c = baseline.get_config(arg)
    if "seeds=" not in (arg or ""):
        c.seeds = (0,)
    if c.fidelity != "sound":
        c.loss.class_weights = "none"
        c.data.validation = "study"  # split.py's, used by the search alone
    c.search.lr = (1e-4, 1e-3, 1e-2)
    c.search.weight_decay = (1e-4, 1e-3)
    c.search.dropout = (0.0, 0.5)
    c.search.patience = (3, 6)
    c.search.batch_size = (16, 32)
    return c
