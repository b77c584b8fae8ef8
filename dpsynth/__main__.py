"""The command line of dpsynth, a companion to papers on differentially private image synthesis.

`dpsynth init PATH` writes a parameter file for a folder of one's own, `dpsynth rehearse FILE` says what to expect,
`dpsynth run FILE` makes all that a parameter file names, `dpsynth pack` and `dpsynth unpack` carry it to another
machine, `dpsynth export FILE` writes its models or images for others, `dpsynth prepare NAME` decodes an image set once,
`dpsynth certificate PRIVATE_SET` states what was ever released of a set, and what that costs, `dpsynth verify
CERTIFICATE` computes anew what a certificate claims.
"""

import argparse
import json
import sys
from pathlib import Path

from dpsynth import mistakes, privacy, project, terminal, verify
from dpsynth.budget.certificate import certificate_of_set
from dpsynth.data import catalog, prepared
from dpsynth.data.originals import ORIGINALS
from dpsynth.runner import export, headless, init, pack, process, rehearse, unpack
from dpsynth.runner.command import add_axes


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit code is 0, or 2 after one sentence on stderr, or as `mistakes` has them."""
    parser = terminal.parser("dpsynth", __doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_runs(commands)
    command = commands.add_parser("prepare", help="decode an image set once; without a name: which there are")
    command.add_argument("name", metavar="NAME", nargs="?", help=", ".join(ORIGINALS))
    command.add_argument("--check", action="store_true", help="read what was prepared as a whole, by its SHA-256")
    command.set_defaults(action=_prepare)
    command = commands.add_parser("certificate", help="the composition of all releases of a private set")
    command.add_argument("private", metavar="PRIVATE_SET", help="mnist5k, folder:PATH (from the project's folder), ...")
    command.add_argument("--delta", type=float, default=1e-5, help="the failure probability to state it at (1e-5)")
    command.add_argument("--json", action="store_true", help="as JSON, with every release")
    command.set_defaults(action=_certificate)
    command = commands.add_parser("verify", help="compute anew what a certificate claims, by other code")
    command.add_argument(
        "certificate", metavar="CERTIFICATE", help="certificate.json of a run, or of an exported model"
    )
    command.set_defaults(action=_verify)
    given = parser.parse_args(argv)

    def action() -> None:
        if given.action in (headless.work, rehearse.work) and argv is None:
            with mistakes.mistakes():
                process.tuned()
        given.action(given)

    return mistakes.ended(action)


def _add_runs(commands: argparse._SubParsersAction) -> None:
    """The commands that write a parameter file or take one, and the one that takes what was packed."""
    command = commands.add_parser("init", help="a parameter file for a folder of your own images")
    init.add_arguments(command)
    command.set_defaults(action=init.work)
    command = commands.add_parser("run", help="all work of a parameter file, without notebooks")
    headless.add_arguments(command)
    command.set_defaults(action=headless.work)
    command = commands.add_parser("rehearse", help="the same on public images in the place of yours: what to expect")
    rehearse.add_arguments(command)
    command.set_defaults(action=rehearse.work)
    command = commands.add_parser("pack", help="what was made of a parameter file, and its data, in one file")
    command.add_argument("file", metavar="FILE", help="name or path of a parameter file below params/")
    command.add_argument("out", metavar="OUT.tar", type=Path, help="the file to write")
    add_axes(command)
    command.add_argument("--without-data", action="store_true", help="artifacts, checkpoints and ledgers alone")
    command.set_defaults(action=pack.write)
    command = commands.add_parser("unpack", help="put what was packed on another machine into this project")
    command.add_argument("pack", metavar="IN.tar", type=Path, help="the file that `dpsynth pack` wrote")
    command.set_defaults(action=unpack.read)
    command = commands.add_parser("export", help="the trained models of a parameter file, each with its card")
    command.add_argument("file", metavar="FILE", help="name or path of a parameter file below params/")
    add_axes(command)
    command.add_argument("--dataset", metavar="OUT", type=Path, help="their synthetic images instead, as data sets")
    command.set_defaults(action=export.write)


def _certificate(given: argparse.Namespace) -> None:
    from dpsynth.report import displays  # here, as it brings what the other commands can do without

    with mistakes.mistakes():
        ledger = privacy.Ledger(project.root() / "ledger", project.anchored(given.private), "secret", 0)
        statement = certificate_of_set(ledger, given.delta) | {"ledger": str(ledger.path.absolute())}
    print(json.dumps(statement, indent=1) if given.json else displays.certificate_of_set(statement))
    if not given.json:
        print(f"  read in {statement['ledger']}")


def _verify(given: argparse.Namespace) -> None:
    """As the file does alone: exit code 1 where the certificate does not agree, 2 where it is none."""
    with mistakes.mistakes():
        try:
            lines, wrong = verify.verified(verify.text_of(given.certificate))
        except IsADirectoryError:
            raise ValueError(f"{given.certificate} is a folder: name the certificate.json in it") from None
        except ValueError as error:
            raise ValueError(f"{given.certificate} cannot be checked: {error}") from None
    print(*lines, sep="\n")
    if wrong:
        raise mistakes.Failed(verify.verdict(wrong), verify.DISAGREES)
    print(verify.verdict(wrong))


def _prepare(given: argparse.Namespace) -> None:
    with mistakes.mistakes():
        if given.name is None:
            if given.check:
                raise ValueError("--check reads one set as a whole: name it, dpsynth prepare NAME --check")
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
