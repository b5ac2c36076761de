"""langgraph.json is the real format: LangGraph's own server loads it and serves the same graphs."""

from pathlib import Path

from tests.reference.conftest import Reference, copy_of_project

QUESTION = "What is (3 + 4) * 5 ** 2?"


CHAINS = {
    "chat": ("Who are you?", "offline model"),
    "extract": ("In 1952 Ada went to Bern.", "Bern"),
    "retrieve": ("Where are threads stored?", "SQLite"),
}
"""What each is asked, and a part of its answer."""


async def test_langgraph_dev_serves_all_graphs(reference: Reference, tmp_path: Path) -> None:
    async with reference(copy_of_project(tmp_path)) as client:
        graphs = {each["graph_id"] for each in (await client.post("/assistants/search", json={})).json()}
        assert graphs == {"agent", *CHAINS}
        body = {"assistant_id": "agent", "input": {"messages": [{"role": "user", "content": QUESTION}]}}
        state = (await client.post("/runs/wait", json=body)).json()
        for graph, (question, part) in CHAINS.items():
            asked = {
                "assistant_id": graph,
                "input": {"question": question},
                "stream_mode": ["messages-tuple", "values"],
            }
            answered = (await client.post("/runs/wait", json=asked)).json()
            assert part in str(answered["answer"]), answered
            streamed = (await client.post("/runs/stream", json=asked)).text
            assert streamed.count("event: messages") > 3
    assert "175" in state["final_answer"]["answer"]
    assert set(state["final_answer"]["tools_used"]) == {"add", "exponentiate", "multiply"}
