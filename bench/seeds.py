"""How much figures change from one training seed to the next, ELBO against game: trains, evaluates and tells.

    python -m bench.seeds digits-ladder digits-reverse --seeds 0 1 2 3 --runs runs/seeds [--write]

Each pair is trained by the preset gallery-NAME-LEARNER with another seed, into RUNS/NAME-LEARNER-SEED, unless it is
there. --write puts the Frechet distances into checkpoints/seeds.json, which the page Results and a test of README read.
The errors of `evaluate` are those of measuring one pair; the spread told here is that of training.
"""

import argparse
from pathlib import Path

from symeq_core import evaluation, files, overseeds
from symeq_core.cli import main as command
from symeq_core.overseeds import FILE, LEARNERS
from symeq_core.results import DISTANCE, KINDS


def trained(name, learner, seed, runs):
    """The folder of the finished run."""
    folder = runs / f"{name}-{learner}-{seed}"
    preset = [str(folder)] if folder.exists() else ["--preset", f"gallery-{name}-{learner}", "--out", str(folder)]
    if command(["train", *preset, *([] if folder.exists() else ["--set", f"seed={seed}"])]):
        raise SystemExit(f"{folder} could not be trained.")
    return folder


def measured(name, seeds, runs):
    """The distances of a match: by kind and learner one for each seed."""
    figures = {kind: {learner: [] for learner in LEARNERS} for kind in KINDS}
    for seed in seeds:
        for learner in LEARNERS:
            quality = evaluation.evaluate(trained(name, learner, seed, runs))["figures"]["quality"]
            for kind in KINDS:
                figures[kind][learner].append(quality[f"{DISTANCE}, {kind}"]["value"])
            n = quality[f"{DISTANCE}, floor"]["n"]
            print(f"{name}, {learner}, seed {seed}: done", flush=True)
    return {"seeds": list(seeds), "n": n} | figures


def main():
    """Print the table and, where asked for, write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", help="matches of the gallery, as digits-ladder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--runs", type=Path, default=Path("runs/seeds"))
    parser.add_argument("--write", action="store_true", help=f"add them to {FILE}")
    o = parser.parse_args()
    found = {name: measured(name, o.seeds, o.runs) for name in o.names}
    if o.write:
        known = files.read_json(FILE) if FILE.is_file() else {}
        files.write_json(FILE, dict(sorted((known | found).items())))
    print(overseeds.markdown(overseeds.checked(found)))


if __name__ == "__main__":
    main()
