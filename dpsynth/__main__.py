"""The command line: `dpsynth certificate PRIVATE_SET` states what was ever released of a set, and what that costs."""

import json
import sys

from dpsynth import mistakes, privacy, project, terminal
from dpsynth.budget.certificate import certificate_of_set
from dpsynth.report import displays


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit code is 0, or 2 after one sentence on stderr."""
    parser = terminal.parser("dpsynth", __doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("certificate", help="the composition of all releases of a private set")
    command.add_argument("private", metavar="PRIVATE_SET", help="mnist5k, folder:PATH (from the project's folder), ...")
    command.add_argument("--delta", type=float, default=1e-5, help="the failure probability to state it at (1e-5)")
    command.add_argument("--json", action="store_true", help="as JSON, with every release")
    given = parser.parse_args(argv)

    def action() -> None:
        with mistakes.mistakes():
            ledger = privacy.Ledger(project.root() / "ledger", project.anchored(given.private), "secret", 0)
            statement = certificate_of_set(ledger, given.delta) | {"ledger": str(ledger.path.absolute())}
        print(json.dumps(statement, indent=1) if given.json else displays.certificate_of_set(statement))
        if not given.json:
            print(f"  read in {statement['ledger']}")

    return mistakes.ended(action)


if __name__ == "__main__":
    sys.exit(main())
