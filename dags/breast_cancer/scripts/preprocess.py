"""Split the measurements into training, validation and test sets.

Input: CSV files with a header; the column `target` is what the model is to predict.
Output: `train`, `validation` and `test` (target first, no header), and `batch`: the test set without its target.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split

TARGET = "target"


def read(folder):
    """Every CSV file of the folder as one array, the target in the first column."""
    tables = []
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="") as file:
            header, *rows = csv.reader(file)
        table = np.asarray(rows, dtype=float)
        target = header.index(TARGET)
        tables.append(np.column_stack([table[:, target], np.delete(table, target, axis=1)]))
    if not tables:
        raise SystemExit(f"no CSV file in {folder}")
    return np.vstack(tables)


def write(folder, name, table):
    """One CSV file without a header, at full precision."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / f"{name}.csv", table, delimiter=",", fmt="%.17g")
    print(f"{name}: {len(table)} rows")


def main():
    """Read, split, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--base-dir", type=Path, default=Path("/opt/ml/processing"))
    parser.add_argument("--holdout-fraction", type=float, default=0.4)
    parser.add_argument("--seed", type=int, default=11)
    args = parser.parse_args()

    data = read(args.base_dir / "input")
    train, rest = train_test_split(data, test_size=args.holdout_fraction, stratify=data[:, 0], random_state=args.seed)
    validation, test = train_test_split(rest, test_size=0.5, stratify=rest[:, 0], random_state=args.seed)
    for name, table in {"train": train, "validation": validation, "test": test}.items():
        write(args.base_dir / name, name, table)
    write(args.base_dir / "batch", "batch", test[:, 1:])


if __name__ == "__main__":
    main()
