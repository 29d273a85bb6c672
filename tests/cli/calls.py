"""Every command with valid arguments, and which of them need Kafka."""

from __future__ import annotations

#: Commands that change the state of an audience, and need nothing else.
STATES = ("reject", "hold", "release", "pause", "resume", "retire")
#: Every command that is not a group, with valid arguments.
CALLS: dict[str, list[str]] = {
    "activate": ["activate"],
    "activate-dry-run": ["activate", "--dry-run"],
    "alerts": ["alerts"],
    "apply": ["apply", "good.yaml"],
    "archive": ["archive"],
    "archive-once": ["archive", "--once"],
    "audiences-apply": ["audiences", "apply", "audiences.yaml"],
    "audiences-plan": ["audiences", "plan", "a"],
    "audiences-plan-file": ["audiences", "plan", "audiences.yaml"],
    "audiences-approve": ["audiences", "approve", "a", "--plan", "1"],
    "audiences-list": ["audiences", "list"],
    "audiences-lift": ["audiences", "lift"],
    "audiences-audit": ["audiences", "audit"],
    **{f"audiences-{name}": ["audiences", name, "a"] for name in ("show", "submit", *STATES)},
    "broker": ["broker", "--kind", "embedded", "--data-dir", "good.yaml"],
    "catalogue": ["catalogue"],
    "catalogue-run": ["catalogue", "run"],
    "check": ["check", "good.yaml"],
    "collect": ["collect"],
    "console": ["console"],
    "console-audit": ["console", "audit"],
    "dead-letters-list": ["dead-letters", "list"],
    "dead-letters-show": ["dead-letters", "show", "0:1"],
    "dead-letters-replay": ["dead-letters", "replay", "0:1"],
    "deliveries-drop": ["deliveries", "drop", "a"],
    "deliveries-list": ["deliveries", "list"],
    "deliveries-reconcile": ["deliveries", "reconcile", "a", "--to", "b"],
    "deliveries-retry": ["deliveries", "retry", "a"],
    "destinations-apply": ["destinations", "apply", "destinations.yaml"],
    "destinations-check": ["destinations", "check", "a"],
    "destinations-list": ["destinations", "list"],
    "destinations-remove": ["destinations", "remove", "a"],
    "demo": ["demo", "--limit", "1", "--broker", "own"],
    "erase": ["erase", "--profile", "user_id:u"],
    "estimate": ["estimate", "good.yaml"],
    "fit": ["fit", "bg-nbd", "--summary", "histories.csv"],
    "forecast": ["forecast"],
    "overlap": ["overlap", "a", "b"],
    "explain": ["explain", "--segments", "good.yaml", "--events", "good.jsonl", "--profile", "user_id:u"],
    "profile": ["profile", "user_id:u"],
    "produce": ["produce", "good.jsonl"],
    "import": ["import", "good.jsonl", "--map", "map.yaml"],
    "pull-klaviyo": ["pull", "klaviyo"],
    "quarantine-list": ["quarantine", "list"],
    "quarantine-show": ["quarantine", "show", "user_id:u"],
    "quarantine-restore": ["quarantine", "restore", "user_id:u"],
    "quarantine-drop": ["quarantine", "drop", "user_id:u"],
    "replay": ["replay", "--segments", "good.yaml", "--events", "good.jsonl"],
    "lookups-list": ["lookups", "list"],
    "lookups-show": ["lookups", "show", "products", "p1"],
    "lookups-put": ["lookups", "put", "products", "table.csv", "--key", "id"],
    "lists-put": ["lists", "put", "vip", "good.jsonl", "--column", "userId"],
    "lists-show": ["lists", "show"],
    "lists-remove": ["lists", "remove", "vip"],
    "models-check": ["models", "check", "model.json"],
    "models-import": ["models", "import", "exported.json", "--name", "b", "--features", "features.yaml"],
    "models-list": ["models", "list"],
    "models-publish": ["models", "publish", "model.json"],
    "models-refresh": ["models", "refresh", "rfm"],
    "models-rollback": ["models", "rollback", "spending"],
    "models-show": ["models", "show", "spending"],
    "mcp": ["mcp"],
    "members": ["members", "a"],
    "timeline": ["timeline", "user_id:u"],
    "pause": ["pause", "a"],
    "plan": ["plan", "good.yaml"],
    "plan-list": ["plan", "--list"],
    "plan-watch": ["plan", "good.yaml", "--watch"],
    "population": ["population"],
    "resume": ["resume", "a"],
    "retire": ["retire", "a"],
    "sandbox": ["sandbox", "user_id:u"],
    "segments": ["segments"],
    "serve": ["serve"],
    "sizes": ["sizes"],
    "sources-apply": ["sources", "apply", "sources.yaml"],
    "sources-infer": ["sources", "infer", "orders"],
    "sources-list": ["sources", "list"],
    "sources-remove": ["sources", "remove", "orders"],
    "sources-run": ["sources", "run"],
    "output": ["output"],
    "sources-test": ["sources", "test", "sources.yaml"],
    "split": ["split", "anonymous_id:a"],
    "studio-eval": ["studio", "eval", "sentences.yaml"],
    "studio-propose": ["studio", "propose", "bought twice"],
    "studio-suggest": ["studio", "suggest"],
    "templates": ["templates"],
    "templates-measure": ["templates", "--measure"],
    "test": ["test", "good.yaml"],
    "schema": ["schema"],
    "tracking-plans-apply": ["tracking-plans", "apply", "plans.yaml"],
    "tracking-plans-infer": ["tracking-plans", "infer"],
    "tracking-plans-list": ["tracking-plans", "list"],
    "tracking-plans-remove": ["tracking-plans", "remove", "website"],
    "tracking-plans-test": ["tracking-plans", "test", "plans.yaml"],
    "tracking-plans-violations": ["tracking-plans", "violations"],
    "topics-create": ["topics", "create", "--wait", "0"],
    "topics-verify": ["topics", "verify"],
    "topics-describe": ["topics", "describe"],
    "group-list": ["group", "list"],
    "group-remove": ["group", "remove", "lost"],
    "train": ["train", "convert_24h"],
    "up": ["up", "--broker", "own"],
    "version": ["version"],
    "watch": ["watch", "--once"],
    "worker": ["worker"],
    "worker-processes": ["worker", "--processes", "2"],
}
KAFKA = ["apply", "erase", "produce", "split", "topics-create", "topics-verify", "topics-describe", "watch"]
KAFKA += ["worker", "demo", "group-list", "group-remove", "members", "pause", "resume", "timeline"]
KAFKA += ["retire", "segments", "estimate", "forecast", "overlap", "archive", "archive-once"]
KAFKA += ["collect", "console", "console-audit", "import", "pull-klaviyo"]
KAFKA += ["sizes", "population", "plan", "plan-list", "plan-watch", "alerts", "templates-measure", "up"]
KAFKA += [f"sources-{name}" for name in ("apply", "infer", "list", "remove", "run", "test")]
KAFKA += [f"tracking-plans-{name}" for name in ("apply", "infer", "list", "remove", "test", "violations")]
KAFKA += ["catalogue", "catalogue-run", "serve", "train"]
KAFKA += ["studio-propose", "studio-suggest"]
KAFKA += ["lists-put", "lists-show", "lists-remove"]
KAFKA += ["models-list", "models-publish", "models-refresh", "models-rollback", "models-show"]
_OF_AUDIENCES = ("audiences-", "activate", "dead-letters-", "deliveries-", "destinations-")
KAFKA += [name for name in CALLS if name.startswith(_OF_AUDIENCES)]
KAFKA += ["quarantine-list", "quarantine-show", "quarantine-restore", "quarantine-drop"]
#: Commands that wait for a broker: see test_outage.py, test_outage_commands.py, test_archive.py,
#: test_sources.py, test_catalogue.py and test_imports.py (streaming), test_command.py (collector) and
#: test_service.py (klaviyo).
PATIENT = ["produce", "worker", "archive", "collect", "console", "import"]
PATIENT += ["sources-run", "output", "pull-klaviyo", "catalogue-run", "activate", "serve", "train"]
