"""What is written for AWS, in deploy/ and docs/aws.md, is what the code does."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped] # comes without types

from benchmarks import cost
from events import datamodels
from events.auth import keystore as keydao
from events.dynamodb.changelog import EXPIRES_AT
from tests.support.permissions import DOCUMENT, policies, rights_of

CHECKOUT = Path(__file__).parents[2]
TEMPLATE = CHECKOUT / "deploy" / "tables.yaml"
#: What of a table's description is not its name and keys.
CARE: dict[str, Any] = {
    "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
    "DeletionProtectionEnabled": True,
    "SSESpecification": {"SSEEnabled": True},
}
#: For the change log: what it loses can be read again from the counters.
CARE_OF_CHANGES: dict[str, Any] = {
    "TimeToLiveSpecification": {"AttributeName": EXPIRES_AT, "Enabled": True},
    "DeletionProtectionEnabled": True,
    "SSESpecification": {"SSEEnabled": True},
}


def template() -> Any:
    return yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))


def operations_called() -> set[str]:
    """The operations of DynamoDB that the service's source names, as AWS names them."""
    found = set()
    for file in (CHECKOUT / "events").rglob("*.py"):
        if "client" in file.parts:  # of this service
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute)):
                continue
            if node.value.attr in ("client", "_client") and node.attr not in ("meta", "close"):
                found.add(node.attr.title().replace("_", ""))
    return found


def actions_in_transactions() -> set[str]:
    """The rights that the parts of transactions need."""
    source = (CHECKOUT / "events" / "dynamodb" / "expressions.py").read_text(encoding="utf-8")
    texts = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
    return {
        f"{part}Item" for part in ("Put", "Update", "Delete", "ConditionCheck") if part in texts
    }


def test_the_template_matches_the_code_and_protects_the_tables() -> None:
    document = template()
    name = document["Parameters"]["EventsTableName"]["Default"]
    found = {}
    for resource in document["Resources"].values():
        assert (resource["Type"], resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == (
            "AWS::DynamoDB::Table",
            "Retain",
            "Retain",
        )
        properties = resource["Properties"]
        table = properties["TableName"]["Fn::Sub"].replace("${EventsTableName}", name)
        found[table] = {**properties, "TableName": table}
    tables = datamodels.Tables.named("customer_events")
    definitions = (*tables.definitions(), keydao.definition("customer_events_api_keys"))
    assert found == {
        item["TableName"]: {
            **item,
            **(CARE_OF_CHANGES if item["TableName"] == tables.changes else CARE),
        }
        for item in definitions
    }


def test_the_policies_name_every_operation_of_the_source_and_no_other() -> None:
    operations = operations_called()
    assert {"Query", "GetItem", "TransactWriteItems"} <= operations, "the search finds them"
    actions_of_parts = actions_in_transactions()
    assert actions_of_parts == {"PutItem", "UpdateItem", "DeleteItem"}
    rights = rights_of(*policies().values())
    assert set(rights) == {"", "_hourly_counts", "_changes", "_api_keys"}
    assert set().union(*rights.values()) == (operations - {"TransactWriteItems"}) | actions_of_parts


def test_every_policy_names_its_actions_and_tables() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    found = policies()
    assert len(found) == text.count("```json") == 11
    for policy in found.values():
        assert policy["Version"] == "2012-10-17"
        for statement in policy["Statement"]:
            assert statement.keys() == {"Effect", "Action", "Resource"}
            assert statement["Effect"] == "Allow"
            assert statement["Action"] == sorted(statement["Action"])
            assert not [action for action in statement["Action"] if "*" in action]


def test_the_tables_of_costs_are_those_that_the_script_prints() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    between = text.partition("<!-- python -m benchmarks.cost -->")[2].partition("<!-- end -->")[0]
    assert between.strip() == cost.tables()


def test_a_lone_event_costs_six_write_units_a_batched_one_about_two() -> None:
    assert cost.write_units(1, 1) == 6.0
    assert cost.write_units(49, 1) == 2 * 51 / 49
    assert 2.04 < cost.write_units(98, 1) < 2.05
