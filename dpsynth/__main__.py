"""The command line: `dpsynth run FILE` makes all that a parameter file names, `dpsynth certificate PRIVATE_SET` states
what was ever released of a set, and what that costs."""

import argparse
import json
import sys

from dpsynth import mistakes, privacy, project, terminal
from dpsynth.budget.certificate import certificate_of_set
from dpsynth.runner import headless, process
from dpsynth.runner.command import add_axes


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit code is 0, or 2 after one sentence on stderr, or as `mistakes` has them."""
    parser = terminal.parser("dpsynth", __doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("run", help="all work of a parameter file, without notebooks")
    command.set_defaults(action=headless.work, makes=True)
    command.add_argument("file", metavar="FILE", help="name or path of a parameter file below params/")
    add_axes(command)
    command.add_argument("--minutes", type=minutes, help="stop at a checkpoint before so many are over (exit status 4)")
    command.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    command = commands.add_parser("certificate", help="the composition of all releases of a private set")
    command.set_defaults(action=certificate, makes=False)
    command.add_argument("private", metavar="PRIVATE_SET", help="mnist5k, folder:PATH (from the project's folder), ...")
    command.add_argument("--delta", type=float, default=1e-5, help="the failure probability to state it at (1e-5)")
    command.add_argument("--json", action="store_true", help="as JSON, with every release")
    given = parser.parse_args(argv)

    def action() -> None:
        if given.makes and argv is None:
            with mistakes.mistakes():
                process.tuned()
        given.action(given)

    return mistakes.ended(action)


def certificate(given: argparse.Namespace) -> None:
    """Print what was ever released of a set."""
    from dpsynth.report import displays  # here, as it brings what the other commands can do without

    with mistakes.mistakes():
        ledger = privacy.Ledger(project.root() / "ledger", project.anchored(given.private), "secret", 0)
        statement = certificate_of_set(ledger, given.delta) | {"ledger": str(ledger.path.absolute())}
    print(json.dumps(statement, indent=1) if given.json else displays.certificate_of_set(statement))
    if not given.json:
        print(f"  read in {statement['ledger']}")


def minutes(text: str) -> float:
    """A number of minutes."""
    if not 0 < float(text) < 1e6:
        raise argparse.ArgumentTypeError(f"{text}: expected a number of minutes above 0")
    return float(text)


if __name__ == "__main__":
    sys.exit(main())
