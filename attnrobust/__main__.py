"""`python -m attnrobust {demo,report,transfer,unfreeze,doctor}`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from attnrobust.commands import guarded, positive


def main(argv: Sequence[str] | None = None) -> int:
    """The project's command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m attnrobust", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="the whole walk on drawn images, in a few minutes")
    demo.add_argument("--images", type=int, default=1200, help="images to draw")
    report = commands.add_parser("report", help="one page from one or many runs")
    report.add_argument("runs", type=Path, nargs="+", help="run folders (…/seed-<n>) or above")
    report.add_argument("--out", type=Path, required=True, help="folder of the page")
    report.add_argument("--title", help="of the page")
    report.add_argument("--baseline", metavar="NAME",
                        help="run that corruption errors are relative to (the first)")  # fmt: skip
    transfer = commands.add_parser("transfer", help="adversarials of each run, judged by all")
    transfer.add_argument("runs", type=Path, nargs="+", help="trained run folders, or above")
    transfer.add_argument("--out", type=Path, required=True, help="folder of the matrix")
    transfer.add_argument("--records", type=Path, default=Path("tfrecords/shards"),
                          help="where records are kept")  # fmt: skip
    transfer.add_argument("--set", dest="settings", action="append", default=[],
                          metavar="KEY=VALUE", help="change the attack's settings")  # fmt: skip
    unfreeze = commands.add_parser(
        "unfreeze", help="fine-tune ever more layer groups of a robust model, without an attack"
    )
    unfreeze.add_argument("run", type=Path, help="trained run folder (…/seed-<n>)")
    unfreeze.add_argument("--out", type=Path, required=True, help="folder of runs and figure")
    unfreeze.add_argument("--records", type=Path, default=Path("tfrecords/shards"),
                          help="where records are kept")  # fmt: skip
    unfreeze.add_argument("--groups", type=positive, nargs="+", default=[], metavar="N",
                          help="how many groups, each number a run (all there are)")  # fmt: skip
    unfreeze.add_argument("--force", action="store_true", help="make all of it anew")
    unfreeze.add_argument("--set", dest="settings", action="append", default=[],
                          metavar="KEY=VALUE", help="change its settings")  # fmt: skip
    doctor = commands.add_parser("doctor", help="what is installed, devices, records, models")
    doctor.add_argument("--records", type=Path, default=Path("tfrecords/shards"),
                        help="where records are kept")  # fmt: skip
    doctor.add_argument("--experiment", metavar="DATASET.NAME",
                        help="measure a step of it and say how long it will take")  # fmt: skip
    doctor.add_argument("--set", dest="settings", action="append", default=[],
                        metavar="KEY=VALUE", help="change one of its settings")  # fmt: skip
    for command in (demo, report, transfer, unfreeze, doctor):
        command.add_argument("--debug", action="store_true", help="show tracebacks")
    options = parser.parse_args(argv)

    def work() -> None:
        if options.command == "demo":
            from attnrobust import demo as walk

            walk.demo(images=options.images)
        elif options.command == "report":
            from attnrobust.report import page
            from attnrobust.runs import find_runs

            page.write(find_runs(options.runs), options.out, title=options.title,
                       baseline=options.baseline)  # fmt: skip
        elif options.command == "transfer":
            from attnrobust import transfer as crossing
            from attnrobust.runs import find_runs

            crossing.transfer(find_runs(options.runs), options.records, options.out,
                              options.settings)  # fmt: skip
        elif options.command == "unfreeze":
            from attnrobust import unfreezing
            from attnrobust.runs import Run

            unfreezing.unfreeze(Run.open(options.run), options.records, options.out,
                                options.settings, options.groups,
                                force=options.force)  # fmt: skip
        else:
            from attnrobust import doctor as examine

            if options.experiment:
                examine.forecast(options.experiment, options.settings, options.records)
            else:
                examine.doctor(options.records)

    return guarded(work, debug=options.debug)


if __name__ == "__main__":
    raise SystemExit(main())
