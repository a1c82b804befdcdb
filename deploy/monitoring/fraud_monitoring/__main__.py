"""Builds and checks the monitoring: `python -m fraud_monitoring --help`. `scripts/monitoring.sh` calls it."""

import argparse
import signal
import sys

from . import alerts, check, files, generate, live, tools


def _generate(_: argparse.Namespace) -> int:
    generate.write()
    return 0


def _check(_: argparse.Namespace) -> int:
    problems = generate.stale() + [problem for one in check.ALL + tools.ALL for problem in one()]
    for problem in problems:
        print(f"monitoring: {problem}", file=sys.stderr)
    if not problems:
        count = sum(rule.is_alert for rule in files.rules())
        print(f"monitoring: {count} alerts, {len(check.panel_queries())} queries of panels, {len(check.runbook_queries())} of runbooks: in order")
    return 1 if problems else 0


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="fraud_monitoring", description="Builds and checks rules, runbooks, routes and dashboards.")
    commands = parser.add_subparsers(required=True)
    commands.add_parser("generate", help="write what is made of other files").set_defaults(run=_generate)
    commands.add_parser("check", help="what can be known without a running service").set_defaults(run=_check)
    commands.add_parser("live", help="each rule and panel on a real Prometheus").set_defaults(run=lambda _: live.main())
    commands.add_parser("alerts", help="alerts provoked, through to a webhook").set_defaults(run=lambda _: alerts.main())
    # Ended from outside, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments = parser.parse_args()
    return arguments.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
