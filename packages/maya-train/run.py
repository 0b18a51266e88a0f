"""Train: fabric run packages/maya-train/run.py --devices 8 stage=joint projector=qformer."""

from maya_train.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
