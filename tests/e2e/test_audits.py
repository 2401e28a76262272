"""The audits of graphql-http: the service answers as the GraphQL over HTTP specification has it."""

import json

import pytest

from tests.e2e.conftest import Node
from tests.e2e.server import Service

pytestmark = pytest.mark.e2e


def test_every_audit_of_graphql_over_http_passes(either_service: Service, node: Node) -> None:
    audits = json.loads(node("audits.mjs", either_service.graphql_url))
    assert [audit for audit in audits if audit["status"] != "ok"] == []
    assert len(audits) == 61
