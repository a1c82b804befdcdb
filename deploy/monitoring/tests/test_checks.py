"""Each check fails on a mistake of the kind it is there for. Run by `scripts/monitoring.sh test`."""

import json
import unittest
from collections.abc import Callable
from pathlib import Path

from fraud_monitoring import check, generate, tools
from spoilt import Copy, replaced

class SeededMistakes(unittest.TestCase):
    """One mistake each, and the check that finds it."""

    def finds(self, one: Callable[[Path], list[str]], spoil: Callable[[Path], None], words: str) -> None:
        with Copy() as home:
            self.assertEqual(one(home), [], "the copy is in order before it is spoilt")
            spoil(home)
            problems = one(home)
            self.assertTrue(any(words in problem for problem in problems), f"{words!r} in {problems}")

    def test_a_rule_on_a_name_that_nobody_exports(self):
        spoil = lambda home: replaced(home / "rules/model.rules.yaml", "fraud_score_drift_psi", "fraud_score_drift")
        self.finds(check.expressions, spoil, "nobody exports `fraud_score_drift`")

    def test_a_rule_that_is_no_expression(self):
        spoil = lambda home: replaced(home / "rules/model.rules.yaml", "max by (namespace, job) (fraud_score", "max by (namespace, job (fraud_score")
        self.finds(check.expressions, spoil, "FraudScoreDrift")
        self.finds(tools.rule_syntax, spoil, "promtool check rules")

    def test_an_alert_without_a_runbook(self):
        self.finds(check.alerts, lambda home: (home / "runbooks/FraudMaxScale.md").unlink(), "there is no runbooks/FraudMaxScale.md")

    def test_a_runbook_without_an_alert_and_without_advice(self):
        spoil = lambda home: (home / "runbooks/FraudNothing.md").write_text("# FraudNothing\n")
        self.finds(check.alerts, spoil, "there is no such alert")
        self.finds(check.alerts, spoil, "has no **Do**")

    def test_an_alert_that_links_to_another_s_runbook(self):
        spoil = lambda home: replaced(home / "rules/cluster.rules.yaml", "runbooks/FraudMaxScale.md", "runbooks/FraudMemoryHigh.md")
        self.finds(check.alerts, spoil, "FraudMaxScale: annotation `runbook_url`")

    def test_a_runbook_with_a_query_on_nothing(self):
        spoil = lambda home: replaced(home / "runbooks/FraudConsumerLag.md", "fraud_stream_partition_lag", "fraud_stream_partitions_lag")
        self.finds(check.expressions, spoil, "nobody exports `fraud_stream_partitions_lag`")

    def test_an_alert_without_severity_reaches_nobody_by_name(self):
        spoil = lambda home: replaced(home / "rules/api.rules.yaml", "severity: critical", "severity: grave")
        self.finds(check.alerts, spoil, "FraudApiErrorRate: label `severity`")

    def test_an_alert_that_no_test_sees_firing(self):
        spoil = lambda home: (home / "tests/stream.test.yaml").unlink()
        self.finds(check.every_alert_is_tested, spoil, "FraudConsumerLag: no test sees it firing")

    def test_a_route_to_the_wrong_receiver(self):
        spoil = lambda home: replaced(home / "alertmanager.yaml", 'notify="administrator"', 'notify="admin"')
        self.finds(tools.routes, spoil, "AdminNotification_MaxScaleHighCPU does not go to administrator")

    def test_a_drift_route_that_ends_before_the_team(self):
        spoil = lambda home: replaced(home / "alertmanager.yaml", "continue: true", "continue: false")
        self.finds(tools.routes, spoil, "FraudFeatureDrift does not go to retraining,team")

    def test_a_receiver_that_is_not_there(self):
        spoil = lambda home: replaced(home / "alertmanager.yaml", "receiver: record", "receiver: recorder")
        self.finds(tools.routes, spoil, "amtool check-config alertmanager.yaml")

    def test_an_inhibition_of_an_alert_that_is_not_there(self):
        spoil = lambda home: replaced(home / "alertmanager.yaml", "FraudMaxScale|", "FraudMaximalScale|")
        self.finds(check.routes, spoil, "there is no alert FraudMaximalScale")

    def test_a_secret_in_the_configuration(self):
        spoil = lambda home: replaced(home / "alertmanager.yaml", "bot_token_file: /etc/alertmanager/secrets/telegram-bot-token", "bot_token: '1:x'")
        self.finds(check.routes, spoil, "`bot_token:` stands in it")

    def test_a_made_file_changed_by_hand(self):
        for name in ("operator/api.yaml", "dashboards/fraud-model.json", "alertmanager.webhook.yaml"):
            with Copy() as home:
                self.assertEqual(generate.stale(home), [])
                (home / name).write_text((home / name).read_text() + "\n")
                self.assertIn(name, " ".join(generate.stale(home)))

    def board(self, name: str, change: Callable[[dict], None]) -> Callable[[Path], None]:
        def spoil(home: Path) -> None:
            path = home / f"dashboards/{name}.json"
            tree = json.loads(path.read_text())
            change(tree)
            path.write_text(json.dumps(tree))

        return spoil

    def test_a_panel_with_a_typing_error(self):
        def misspell(tree):
            tree["panels"][1]["targets"][0]["expr"] = 'sum(fraud_store_byte{namespace=~"$namespace"})'

        self.finds(check.expressions, self.board("fraud-service", misspell), "nobody exports `fraud_store_byte`")

    def test_a_panel_with_a_variable_that_grafana_has_not(self):
        def misspell(tree):
            tree["panels"][1]["targets"][0]["expr"] = 'rate(fraud_decisions_total{namespace=~"$namespace"}[$__rate_intervall])'

        self.finds(check.expressions, self.board("fraud-service", misspell), "unknown variable")

    def test_panels_without_what_a_reader_needs(self):
        changes = {
            "`description` is missing": lambda tree: tree["panels"][1].pop("description"),
            "has no unit": lambda tree: tree["panels"][1]["fieldConfig"]["defaults"].pop("unit"),
            "a query has no legend": lambda tree: tree["panels"][1]["targets"][0].pop("legendFormat"),
            "its data source is not the variable": lambda tree: tree["panels"][1].update(datasource={"type": "prometheus", "uid": "x"}),
            "does not keep to the chosen namespace": lambda tree: tree["panels"][1]["targets"][0].update(expr="up"),
            "overlap": lambda tree: tree["panels"][2].update(gridPos=tree["panels"][1]["gridPos"]),
            "two panels have one id": lambda tree: tree["panels"][2].update(id=tree["panels"][1]["id"]),
            "the variables must be": lambda tree: tree["templating"]["list"].pop(),
        }
        for words, change in changes.items():
            with self.subTest(words):
                self.finds(check.boards, self.board("fraud-stream", change), words)
