"""langgraph.json is the real format: LangGraph's own server loads it and serves the same graphs."""

from pathlib import Path

from tests.reference.conftest import Reference, copy_of_project

QUESTION = "What is (3 + 4) * 5 ** 2?"


async def test_langgraph_dev_serves_the_agent(reference: Reference, tmp_path: Path) -> None:
    async with reference(copy_of_project(tmp_path)) as client:
        graphs = {each["graph_id"] for each in (await client.post("/assistants/search", json={})).json()}
        assert graphs >= {"agent"}
        body = {"assistant_id": "agent", "input": {"messages": [{"role": "user", "content": QUESTION}]}}
        state = (await client.post("/runs/wait", json=body)).json()
    assert "175" in state["final_answer"]["answer"]
    assert set(state["final_answer"]["tools_used"]) == {"add", "exponentiate", "multiply"}
