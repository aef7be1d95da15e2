"""Every mitigation with its defaults x every seed, against the baseline.

Commands (arguments after the colon as configs/baseline.py's: rafdb | manifest | full, runlocal, seeds=N, fidelity=...):

  python launch.py --config=configs/mitigation_grid.py
      Embedded faces, quick settings, 4 seeds of each of the methods below.
  python launch.py --config=configs/mitigation_grid.py:runlocal
      A smoke test of all of them; minutes.
  python launch.py --config=configs/mitigation_grid.py:rafdb --config.data.dir=DIR
      RAF-DB, 16 seeds; on an accelerator.

Methods that are only data share one program; each kind of head is one more, and SAM, which takes two gradients a step.
What follows training (DFR, cRT, offsets) shares the baseline's training (docs/methods.md).
"""

from frown_jax.configs import baseline

BY = "by='race'"
METHODS = {
    "baseline": "",
    "inverse class weights": {"loss.class_weights": "inverse", "loss.normaliser": "weight"},
    "effective-number class weights": {"loss.class_weights": "effective_number", "loss.normaliser": "weight"},
    "equalise mean": f"equalise({BY}, how='mean')",
    "equalise max": f"equalise({BY}, how='max')",
    "equalise min": f"equalise({BY}, how='min')",
    "inversion": "invert(p=0.5)",
    "lighting": "lighting()",
    "affirmative action": f"affirmative_action({BY}, cells=('African-American',))",
    "reweighing": f"reweighing({BY})",
    "balanced sampling": "balanced_sampling(by=('emotion', 'race'))",
    "sqrt sampling": "sqrt_sampling(by=('emotion', 'race'))",
    "subg": f"subg({BY})",
    "group weights": f"group_weights({BY})",
    "group DRO": f"group_dro({BY})",
    "CVaR-DRO": "cvar_dro()",
    "focal": "focal()",
    "LDAM": "ldam()",
    "logit adjustment": "logit_adjustment()",
    "group logit adjustment": f"group_logit_adjustment({BY})",
    "demographic parity": f"demographic_parity_gap({BY})",
    "equal opportunity": f"equal_opportunity_gap({BY})",
    "equalized odds": f"equalized_odds_gap({BY})",
    "HSIC": f"hsic({BY})",
    "MMD": f"mmd({BY})",
    "MinDiff": f"mindiff({BY})",
    "CORAL": f"coral({BY})",
    "domain independent": f"domain_independent({BY})",
    "domain discriminative": f"domain_discriminative({BY})",
    "uniform confusion": f"uniform_confusion({BY})",
    "DANN": f"dann({BY})",
    "class-conditional DANN": f"dann({BY}, conditional=True)",
    "LAFTR": f"laftr({BY})",
    "disentangled": "disentangled(by=('race', 'gender', 'age'))",
    "mixup": "mixup()",
    "LISA": f"lisa({BY})",
    "attribute-aware": f"attribute_aware({BY})",
    "inversion, tested too": "invert(p=0.5) + invert_test(p=0.5)",
    "JTT": "jtt()",
    "SAM": "sam()",
    "SWA": "swa()",
    "SWAD": "swad()",
    "DFR": f"dfr({BY}, fewest=1)",
    "cRT": "crt()",
    "post-hoc logit adjustment": "posthoc_logit_adjustment()",
    "post-hoc group logit adjustment": f"posthoc_logit_adjustment({BY})",
    "group offsets": f"group_offsets({BY})",
}


def get_config(arg=None):
    return baseline.get_config(arg)


def sweep(add):
    for name, what in METHODS.items():
        add(method=name, **(what if isinstance(what, dict) else {"mitigation": what}))
