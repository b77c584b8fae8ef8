"""The command line of the bench; see the package."""

import argparse
import json
import sys

import pandas as pd

from dpsynth import bench, device, figures, project, terminal
from dpsynth.bench.steps import FULL, LAPTOP, SWEEPS, Setting
from dpsynth.mistakes import ended, mistakes


def main() -> int:
    parser = terminal.parser("python -m dpsynth.bench", bench.__doc__)
    parser.add_argument("--quick", action="store_true", help="three repeats, without the sweeps")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    parser.add_argument("--setting", type=json.loads, default=list(FULL), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if refused := ended(mistakes()(device.kind)):
        return refused
    if given.memory:
        print(bench.held_by(Setting(*given.setting), given.memory))
        return 0
    rows, path = [], project.root() / "build" / "bench.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    for setting in (FULL, FULL._replace(views=4), LAPTOP, *([] if given.quick else SWEEPS)):
        print(f"measuring {setting}", flush=True)
        repeats = 1 if setting.batch > 256 else 3 if given.quick or setting in SWEEPS else 7
        rows += bench.measure(setting, repeats)
        table = pd.DataFrame(rows)
        table.to_csv(path, index=False)
    print(table.drop(columns=["quartile1", "quartile3"], errors="ignore").round(4).to_string(index=False))
    print(f"\n{bench.ratios(table).to_string(index=False)}\n\n{path}")
    path.with_suffix(".png").write_bytes(figures.bench(table, badge="make bench, 2 threads").png())
    return 0


if __name__ == "__main__":
    sys.exit(main())
