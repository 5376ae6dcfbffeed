"""
A DynamoDB in memory, for simulations and for tests that decide when each request is carried out.

It knows the requests and the expressions that this service sends, and each request is one step. Its
answers were compared with those of DynamoDB Local: the tests of shards run on both.
"""

# ruff: noqa: N803 - arguments are named as boto3 names them

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from threading import RLock
from types import CodeType, SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

Item = dict[str, Any]
_ANSWER = {"HTTPStatusCode": 200, "HTTPHeaders": {}}
#: By the name of a table's partition key, the name of its sort key.
_SORT_KEYS = {"change_slot": "change_key"}


class SimulatedClient:
    """
    What the store calls of a boto3 client; safe to use from many threads.

    Args:
        before: Called before each request is carried out, with its operation and fields.
    """

    def __init__(self, before: Callable[[str, Mapping[str, Any]], None] = lambda *_: None) -> None:
        self.tables: dict[str, dict[tuple[str, str], Item]] = {}
        self.before = before
        self._lock = RLock()
        self._done: dict[str, Mapping[str, Any]] = {}
        events = SimpleNamespace(register=lambda *_, **__: None, unregister=lambda *_, **__: None)
        self.meta = SimpleNamespace(endpoint_url="memory", events=events)

    def close(self) -> None:
        pass

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        if operation.startswith("_"):
            raise AttributeError(operation)

        def call(**request: Any) -> Any:
            self.before(operation, request)
            with self._lock:
                answer = getattr(self, f"_{operation}")(**request)
            return {"ResponseMetadata": {**_ANSWER, "RequestId": "1"}, **answer}

        return call

    def items(self, table: str) -> dict[tuple[str, str], Item]:
        """By partition and sort key."""
        return self.tables.setdefault(table, {})

    # --- single requests --------------------------------------------------------------------------

    def _get_item(self, TableName: str, Key: Item, **_: Any) -> Any:
        item = self.items(TableName).get(_key(Key))
        return {"Item": dict(item)} if item else {}

    def _put_item(self, **request: Any) -> Any:
        return self._write({"Put": request})

    def _update_item(self, **request: Any) -> Any:
        return self._write({"Update": request})

    def _delete_item(self, **request: Any) -> Any:
        return self._write({"Delete": request})

    def _write(self, action: Mapping[str, Any]) -> Any:
        ((name, request),) = action.items()
        if not self._holds(request):
            item = self._old(request)
            raise _error(
                "ConditionalCheckFailedException", name, **({"Item": item} if item else {})
            )
        self._apply(name, request)
        return {"Attributes": self._old(request)}

    def _transact_write_items(
        self,
        TransactItems: list[Item],
        ClientRequestToken: str,
    ) -> Any:
        if ClientRequestToken in self._done:
            return {}
        reasons: list[Item] = []
        for action in TransactItems:
            ((_, request),) = action.items()
            failed: Item = {"Code": "ConditionalCheckFailed"}
            if "ReturnValuesOnConditionCheckFailure" in request and self._old(request):
                failed["Item"] = self._old(request)
            reasons.append({"Code": "None"} if self._holds(request) else failed)
        if any(reason["Code"] != "None" for reason in reasons):
            raise _error(
                "TransactionCanceledException", "TransactWriteItems", CancellationReasons=reasons
            )
        for action in TransactItems:
            ((name, request),) = action.items()
            self._apply(name, request)
        self._done[ClientRequestToken] = {}
        return {}

    def _batch_write_item(self, RequestItems: Mapping[str, list[Item]]) -> Any:
        for table, puts in RequestItems.items():
            for put in puts:
                self._apply("Put", {"TableName": table, **put["PutRequest"]})
        return {}

    def _query(
        self,
        TableName: str,
        KeyConditionExpression: str,
        ExpressionAttributeValues: Item,
        Limit: int | None = None,
        ScanIndexForward: bool = True,
        **request: Any,
    ) -> Any:
        values = {name: value["S"] for name, value in ExpressionAttributeValues.items()}
        sort_key = KeyConditionExpression.split(" AND ")[1].split()[0]
        keys = sorted(
            (
                key
                for key in self.items(TableName)
                if key[0] == values[":partition"] and values[":low"] <= key[1] <= values[":high"]
            ),
            reverse=not ScanIndexForward,
        )
        start = request.get("ExclusiveStartKey")
        if start:
            after = start[sort_key]["S"]
            keys = [key for key in keys if (key[1] > after) == ScanIndexForward and key[1] != after]
        page = keys[:Limit]
        found = [self.items(TableName)[key] for key in page]
        condition = request.get("FilterExpression")
        found = [item for item in found if not condition or _evaluate(condition, item, {})]
        answer: Item = {"Count": len(found)}
        if request.get("Select") != "COUNT":
            answer["Items"] = [dict(item) for item in found]
        if len(page) < len(keys):
            last = self.items(TableName)[page[-1]]
            partition_key = KeyConditionExpression.split(" = ")[0]
            answer["LastEvaluatedKey"] = {name: last[name] for name in (partition_key, sort_key)}
        return answer

    def _scan(self, TableName: str, Limit: int, **request: Any) -> Any:
        start = request.get("ExclusiveStartKey")
        keys = sorted(key for key in self.items(TableName) if not start or key > _key(start))
        items = [dict(self.items(TableName)[key]) for key in keys[:Limit]]
        last = {"LastEvaluatedKey": _only_key(items[-1])} if len(keys) > Limit else {}
        return {"Items": items, **last}

    def _describe_table(self, **_: Any) -> Any:
        return {"Table": {"TableStatus": "ACTIVE", "CreationDateTime": datetime.now(UTC)}}

    def _describe_time_to_live(self, **_: Any) -> Any:
        return {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED"}}

    # --- expressions ------------------------------------------------------------------------------

    def _old(self, request: Mapping[str, Any]) -> Item | None:
        item = self.items(request["TableName"]).get(_key(request.get("Key") or request["Item"]))
        return dict(item) if item else None

    def _holds(self, request: Mapping[str, Any]) -> bool:
        condition = request.get("ConditionExpression")
        if not condition:
            return True
        for alias, name in request.get("ExpressionAttributeNames", {}).items():
            condition = re.sub(rf"{alias}\b", name, condition)
        values = request.get("ExpressionAttributeValues", {})
        return _evaluate(condition, self._old(request) or {}, values)

    def _apply(self, operation: str, request: Mapping[str, Any]) -> None:
        table, key = self.items(request["TableName"]), _key(request.get("Key") or request["Item"])
        if operation == "Delete":
            table.pop(key, None)
        elif operation == "Put":
            table[key] = dict(request["Item"])
        else:
            item = table.setdefault(key, dict(request["Key"]))
            _update(item, request["UpdateExpression"], request["ExpressionAttributeValues"])


def _key(item: Mapping[str, Any]) -> tuple[str, str]:
    partition, sort = _only_key(item).values()
    return partition["S"], sort["S"]


def _only_key(item: Mapping[str, Any]) -> Item:
    if "change_slot" in item:
        names = ("change_slot", "change_key")
    else:
        names = ("customer_id", "counter_key" if "counter_key" in item else "event_key")
    return {name: item[name] for name in names}


def _error(code: str, operation: str, **more: Any) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "simulated"},
        "ResponseMetadata": {**_ANSWER, "HTTPStatusCode": 400},
        **more,
    }
    return ClientError(response, operation)


@cache
def _compiled(condition: str) -> CodeType:
    """A condition as an expression of Python on `item` and `values`."""
    code = re.sub(r"attribute_not_exists\((\w+)\)", r"('\1' not in item)", condition)
    code = re.sub(r"attribute_exists\((\w+)\)", r"('\1' in item)", code)
    code = re.sub(r"(\w+) = (:\w+)", r"(item.get('\1') == values['\2'])", code)
    code = code.replace(" AND ", " and ").replace(" OR ", " or ")
    return compile(code, "condition", "eval")


def _evaluate(condition: str, item: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    return bool(eval(_compiled(condition), {}, {"item": item, "values": values}))


def _update(item: Item, expression: str, values: Mapping[str, Any]) -> None:
    old = dict(item)
    for clause in re.findall(r"(?:ADD|SET) .+?(?= SET|$)", expression):
        for part in re.split(r", (?![^(]*\))", clause[4:]):
            if clause.startswith("ADD"):
                name, value = part.split()
                number = int(old.get(name, {"N": "0"})["N"]) + int(values[value]["N"])
                item[name] = {"N": str(number)}
                continue
            name, value = part.split(" = ")
            default = re.fullmatch(r"if_not_exists\((\w+), (:\w+)\)", value)
            if default is None:
                item[name] = values[value]
            else:
                item[name] = old.get(default[1], values[default[2]])


def throttled(actions: int) -> ClientError:
    """The answer to a transaction of so many actions on a partition key without capacity."""
    reasons = [{"Code": "ThrottlingError"}, *[{"Code": "None"}] * (actions - 1)]
    return _error("TransactionCanceledException", "TransactWriteItems", CancellationReasons=reasons)
