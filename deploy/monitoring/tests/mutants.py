"""The rules' own tests notice each small mistake in a rule. Run by `scripts/monitoring.sh mutants`: about 150 runs of promtool."""

import re
import shutil
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fraud_monitoring import files, promql, tools
from spoilt import Copy


def mutants(home: Path) -> list[tuple[str, str, str]]:
    """(rule file, what was done, its text then): one mistake in one rule each."""
    found = []
    for path in files.rule_files(home):
        text = path.read_text()
        for rule in (rule for rule in files.rules(home) if rule.file == path.name):
            begin = re.search(rf"(record|alert): {re.escape(rule.name)}\n", text).start()
            following = re.search(r"\n      - (record|alert): ", text[begin + 1 :])
            end = begin + 1 + following.start() if following else len(text)
            body = text[begin:end]

            def mutant(what: str, changed: str, name=rule.name, body=body, begin=begin, end=end) -> None:
                if changed != body:
                    found.append((path.name, f"{name}: {what}", text[:begin] + changed + text[end:]))

            expression = re.compile(r"(?s)expr:.*?(?=\n        (?:for|labels|annotations):|\Z)")
            inside = lambda change, body=body: expression.sub(lambda match: change(match.group()), body, count=1)
            for metric in sorted(promql.metrics(rule.expr)):
                mutant(f"{metric} misspelt", inside(lambda expr: re.sub(rf"\b{metric}\b", metric + "x", expr)))
            if not rule.is_alert:
                continue
            bound = re.compile(r"(>=?|==|>=) (\d[\d.]*)\s*$")
            mutant("never", inside(lambda expr: bound.sub(r"> 1e12", expr)))
            mutant("always", inside(lambda expr: bound.sub(r">= -1", expr)))
            mutant("without its time", re.sub(r"\n        for: \w+", "", body))
            mutant("with ten times its time", re.sub(r"\n        for: (\d+)m", lambda match: f"\n        for: {match.group(1)}0m", body))
    return found


class Mutants(unittest.TestCase):
    """The rules' own tests notice each small mistake in a rule."""

    def test_every_mutant_is_caught(self):
        with Copy() as home:
            found = mutants(home)
            self.assertGreater(len(found), 100)

            def caught(mutant: tuple[str, str, str]) -> bool:
                file, _, text = mutant
                with tempfile.TemporaryDirectory(dir=home) as folder:
                    own = Path(folder)
                    (own / "rules").mkdir()
                    (own / "rules" / file).write_text(text)
                    name = file.replace(".rules.yaml", ".test.yaml")
                    (own / "tests").mkdir()
                    shutil.copy(home / "tests" / name, own / "tests" / name)
                    return tools.rule_tests(own) != []

            with ThreadPoolExecutor(2) as threads:
                survivors = [mutant[1] for mutant, dead in zip(found, threads.map(caught, found)) if not dead]
        self.assertEqual(survivors, [])


if __name__ == "__main__":
    unittest.main()
