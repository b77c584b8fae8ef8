"""The command line: `dpsynth certificate PRIVATE_SET` states what was ever released of a set, and what that costs;
`dpsynth prepare NAME` decodes an image set once."""

import argparse
import json
import sys

from dpsynth import mistakes, privacy, project, terminal
from dpsynth.budget.certificate import certificate_of_set
from dpsynth.data import catalog, prepared
from dpsynth.data.originals import ORIGINALS
from dpsynth.report import displays


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit code is 0, or 2 after one sentence on stderr."""
    parser = terminal.parser("dpsynth", __doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("certificate", help="the composition of all releases of a private set")
    command.add_argument("private", metavar="PRIVATE_SET", help="mnist5k, folder:PATH (from the project's folder), ...")
    command.add_argument("--delta", type=float, default=1e-5, help="the failure probability to state it at (1e-5)")
    command.add_argument("--json", action="store_true", help="as JSON, with every release")
    command.set_defaults(action=_certificate)
    command = commands.add_parser("prepare", help="decode an image set once; without a name: which there are")
    command.add_argument("name", metavar="NAME", nargs="?", help=", ".join(ORIGINALS))
    command.add_argument("--check", action="store_true", help="read what was prepared as a whole, by its SHA-256")
    command.set_defaults(action=_prepare)
    given = parser.parse_args(argv)
    return mistakes.ended(lambda: given.action(given))


def _certificate(given: argparse.Namespace) -> None:
    with mistakes.mistakes():
        ledger = privacy.Ledger(project.root() / "ledger", project.anchored(given.private), "secret", 0)
        statement = certificate_of_set(ledger, given.delta) | {"ledger": str(ledger.path.absolute())}
    print(json.dumps(statement, indent=1) if given.json else displays.certificate_of_set(statement))
    if not given.json:
        print(f"  read in {statement['ledger']}")


def _prepare(given: argparse.Namespace) -> None:
    with mistakes.mistakes():
        if given.name is None:
            print(f"in {project.data()} ($DPSYNTH_DATA):")
            for name, row in ORIGINALS.items():
                print(f"  {name:16}{sum(row.n_images.values()):>10,} images  {prepared.state(name)}")
            return
        name = catalog.prepared_as(given.name)
        (prepared.check if given.check else prepared.prepare)(name)
        images = prepared.opened(name).images
    shape = "x".join(map(str, images.shape[1:]))
    checked = "; their SHA-256 is the one written down" if given.check else ""
    print(f"{name}: {len(images):,} images of {shape} pixels in {prepared.folder(name)}{checked}")


if __name__ == "__main__":
    sys.exit(main())
