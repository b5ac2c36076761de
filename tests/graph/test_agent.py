"""The agent, from outside: what it says, what it tells the model, and that it always ends."""

import asyncio
import warnings
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, InjectedToolArg, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, Send, interrupt

from graph import build_graph
from graph.final_answer import FinalAnswerModel
from graph.state import Context
from tests.graph.scripted import Reply, ScriptedModel, answer, call, say
from tests.graph.test_state import assert_sound

Api = Literal["invoke", "stream", "ainvoke", "astream", "v2", "v3"]
Graph = CompiledStateGraph[Any, Any, Any, Any]

HI: dict[str, Any] = {"messages": [("user", "hi")]}
THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}


@pytest.fixture(params=["invoke", "stream", "ainvoke", "astream", "v2", "v3"])
def api(request: pytest.FixtureRequest) -> Api:
    return request.param  # type: ignore[no-any-return]


async def outcome(graph: Graph, api: Api, given: Any = HI, config: RunnableConfig | None = None, **rest: Any) -> Any:
    """Run the graph by one of its APIs; return what it ends with."""
    if api == "invoke":
        return graph.invoke(given, config, **rest)
    if api == "ainvoke":
        return await graph.ainvoke(given, config, **rest)
    if api == "stream":
        return list(graph.stream(given, config, stream_mode="values", **rest))[-1]
    if api == "astream":
        return [values async for values in graph.astream(given, config, stream_mode="values", **rest)][-1]
    if api == "v2":
        events = [event async for event in graph.astream_events(given, config, version="v2", **rest)]
        return events[-1]["data"]["output"]
    return [e["params"]["data"] for e in await v3_events(graph, given, config, **rest) if e["method"] == "values"][-1]


async def v3_events(graph: Graph, given: Any, config: RunnableConfig | None = None, **rest: Any) -> list[Any]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The v3 streaming protocol")
        stream = await graph.astream_events(given, config, version="v3", **rest)
        return [event async for event in stream]


async def streamed(graph: Graph, given: Any = HI, **rest: Any) -> list[BaseMessage]:
    return [message async for message, _ in graph.astream(given, stream_mode="messages", **rest)]


def add(x: Any, y: Any, id_: str = "a") -> tuple[str, dict[str, Any], str]:
    return ("add", {"x": x, "y": y}, id_)


def results(messages: list[BaseMessage]) -> list[tuple[str, str]]:
    return [(str(m.content), m.status) for m in messages if isinstance(m, ToolMessage)]


# What a turn is


async def test_a_turn(api: Api) -> None:
    model = ScriptedModel(
        call(("multiply", {"x": 7, "y": 25}, "a"), ("divide", {"x": 6, "y": 4}, "b")),
        call(add(175, 1.5)),
        answer("It is 176.5.", tools_used=["something else"]),
    )
    result = await outcome(build_graph(model), api)
    assert result["final_answer"] == {"answer": "It is 176.5.", "tools_used": ["multiply", "divide", "add"]}
    assert results(result["messages"]) == [("175", "success"), ("1.5", "success"), ("176.5", "success")]
    last = result["messages"][-1]
    assert (last.text, last.tool_calls) == ("It is 176.5.", [])
    assert [asked.tool_choice for asked in model.asked] == ["any", "any", "any"]
    assert model.asked[0].tools == ["add", "subtract", "multiply", "divide", "exponentiate", "final_answer"]
    for asked in model.asked:
        assert isinstance(asked.messages[0], SystemMessage)
        assert_sound(asked.messages)


@pytest.mark.parametrize(
    "given", ["hi", ["hi"], [("user", "hi")], [{"role": "user", "content": "hi"}], [HumanMessage("hi")]]
)
async def test_forms_of_input(given: Any) -> None:
    model = ScriptedModel(answer("hello"))
    result = await build_graph(model).ainvoke({"messages": given})
    assert [(m.type, m.content) for m in result["messages"]] == [("human", "hi"), ("ai", "hello")]


async def test_plain_text_is_the_answer(api: Api) -> None:
    result = await outcome(build_graph(ScriptedModel(say("Just text."))), api)
    assert result["final_answer"] == {"answer": "Just text.", "tools_used": []}


async def test_an_empty_answer_is_an_answer() -> None:
    result = await build_graph(ScriptedModel(answer(""))).ainvoke(HI)
    assert result["final_answer"] == {"answer": "", "tools_used": []}


async def test_an_answer_cut_off_stands() -> None:
    model = ScriptedModel(Reply(calls=[("final_answer", '{"answer": "It is 1', "f")]))
    result = await build_graph(model).ainvoke(HI)
    assert result["final_answer"]["answer"] == "It is 1"


async def test_a_new_turn_sees_the_earlier_ones_and_counts_for_itself(api: Api) -> None:
    model = ScriptedModel(call(add(1, 2)), answer("3"), answer("still 3"))
    graph = build_graph(model, checkpointer=InMemorySaver())
    await outcome(graph, api, HI, THREAD)
    result = await outcome(graph, api, {"messages": "and?"}, THREAD, context={"max_iterations": 2})
    assert result["final_answer"] == {"answer": "still 3", "tools_used": []}
    assert [m.type for m in model.asked[-1].messages] == ["system", "human", "ai", "tool", "ai", "human"]
    assert model.asked[-1].tool_choice == "any"


# What streams


async def test_the_answer_streams_and_adds_up_to_the_message_in_the_state() -> None:
    graph = build_graph(ScriptedModel(call(add(1, 2)), answer("It is three, I think.", tools_used=["add"])))
    chunks: dict[str | None, list[BaseMessage]] = {}
    async for mode, data in graph.astream(HI, stream_mode=["messages", "values"]):
        if mode == "messages":
            chunks.setdefault(data[0].id, []).append(data[0])
        else:
            final = data
    assert list(chunks) == [message.id for message in final["messages"][1:]]
    for message in final["messages"][1:]:
        first, *others = chunks[message.id]
        if isinstance(message, AIMessage):
            assert len(others) > 3
            assert isinstance(first, AIMessageChunk)
            whole = first + others  # type: ignore[operator]
            assert (whole.content, whole.tool_calls) == (message.content, message.tool_calls)
            assert whole.additional_kwargs == message.additional_kwargs
            assert whole.usage_metadata == message.usage_metadata
        else:
            assert [first, *others] == [message]


def test_the_answer_streams_from_synchronous_code() -> None:
    graph = build_graph(ScriptedModel(answer("It is three, I think.")))
    pieces = [message.content for message, _ in graph.stream(HI, stream_mode="messages")]
    assert "".join(pieces) == "It is three, I think."
    assert len(pieces) > 3


async def test_the_answer_streams_as_events_v2() -> None:
    graph = build_graph(ScriptedModel(call(add(1, 2)), answer("It is three, I think.")))
    events = [event async for event in graph.astream_events(HI, version="v2")]
    pieces = [e["data"]["chunk"].text for e in events if e["event"] == "on_chat_model_stream"]
    assert "".join(pieces) == "It is three, I think."
    assert events[-1]["data"]["output"]["final_answer"]["answer"] == "It is three, I think."


async def test_the_answer_streams_as_events_v3() -> None:
    events = await v3_events(build_graph(ScriptedModel(call(add(1, 2)), answer("It is three, I think."))), HI)
    deltas = [e["params"]["data"][0].get("delta") for e in events if e["method"] == "messages"]
    texts = [delta["text"] for delta in deltas if delta and delta["type"] == "text-delta"]
    assert "".join(texts) == "It is three, I think."
    assert len(texts) > 3


async def test_each_result_of_parallel_tools_comes_when_it_is_there() -> None:
    """One tool ends only after the other's result has been read from the stream."""
    read = asyncio.Event()

    @tool
    async def quick() -> str:
        """End at once."""
        return "quick"

    @tool
    async def patient() -> str:
        """End when the other has been heard of."""
        await read.wait()
        return "patient"

    graph = build_graph(ScriptedModel(call(("patient", {}, "p"), ("quick", {}, "q")), answer("ok")), [patient, quick])
    heard = []
    async for update in graph.astream(HI, stream_mode="updates"):
        heard += [m.content for m in update.get("tools", {}).get("messages", [])]
        if heard:
            read.set()
    assert heard == ["quick", "patient"]


async def test_parallel_tools_overlap() -> None:
    barrier = asyncio.Barrier(3)

    @tool
    async def meet(who: str) -> str:
        """Wait for the others."""
        await barrier.wait()
        return who

    graph = build_graph(ScriptedModel(call(*(("meet", {"who": w}, w) for w in "abc")), answer("met")), [meet])
    result = await graph.ainvoke(HI)
    assert results(result["messages"]) == [("a", "success"), ("b", "success"), ("c", "success")]


# What goes wrong in tools


@tool
def shouts(text: str) -> str:
    """Fail."""
    raise RuntimeError(f"no {text}!")


@tool
def says_nothing() -> str:
    """Fail without a word."""
    raise KeyError


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("shouts", {"text": "way"}, "a"), "Error: no way!"),
        (("shouts", {"text": "x" * 9999}, "a"), "Error: no " + "x" * 497 + "…"),
        (("says_nothing", {}, "a"), "Error: KeyError"),
        (("shouts", {}, "a"), "Error: invalid arguments for shouts: text: Field required"),
        (("whispers", {}, "a"), "Error: whispers is not a valid tool, try one of [shouts, says_nothing]."),
        (("shouts", "{]", "a"), "The tool was not called: its arguments were not valid JSON: {]"),
    ],
)
async def test_an_error_is_told_to_the_model(api: Api, asked: Any, told: str) -> None:
    model = ScriptedModel(call(asked), answer("sorry"))
    result = await outcome(build_graph(model, [shouts, says_nothing]), api)
    assert results(result["messages"]) == [(told, "error")]
    assert result["final_answer"]["answer"] == "sorry"
    assert_sound(model.asked[1].messages)
    called = [] if "not called" in told or "not a valid tool" in told else [asked[0]]
    assert result["final_answer"]["tools_used"] == called


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("divide", {"x": 1, "y": 0}, "a"), "Error: Cannot divide by zero."),
        (("exponentiate", {"x": 9, "y": 9**9}, "a"), "Error: The result is too large."),
        (("exponentiate", {"x": -8, "y": 0.5}, "a"), "Error: The result is not a finite real number"),
    ],
)
async def test_arithmetic_that_fails_is_told_to_the_model(asked: Any, told: str) -> None:
    result = await build_graph(ScriptedModel(call(asked), answer("sorry"))).ainvoke(HI)
    ((text, status),) = results(result["messages"])
    assert text.startswith(told)
    assert status == "error"


async def test_a_call_cut_off_is_not_made() -> None:
    cut_off = Reply(calls=[add(1, 2), ("add", '{"x": 1, "y": 2', "b")], ended="length")
    model = ScriptedModel(cut_off, answer("3"))
    result = await build_graph(model).ainvoke(HI)
    assert [text[:24] for text, _ in results(result["messages"])] == ["The tool was not called:", "3"]
    assert_sound(model.asked[1].messages)


async def test_one_bad_call_does_not_stop_the_others() -> None:
    model = ScriptedModel(call(add(1, 2), ("add", "{]", "b"), ("divide", {"x": 1, "y": 0}, "c")), answer("3"))
    result = await build_graph(model).ainvoke(HI)
    assert sorted(status for _, status in results(result["messages"])) == ["error", "error", "success"]
    assert result["final_answer"]["tools_used"] == ["add", "divide"]
    assert_sound(model.asked[1].messages)


@pytest.mark.parametrize("ids", [(None, None), ("", "x"), ("x", "x")])
async def test_calls_get_ids_of_their_own(ids: tuple[str | None, str | None]) -> None:
    model = ScriptedModel(call(("add", {"x": 1, "y": 2}, ids[0]), ("add", {"x": 3, "y": 4}, ids[1])), answer("ok"))
    result = await build_graph(model).ainvoke(HI)
    assert results(result["messages"]) == [("3", "success"), ("7", "success")]
    assert_sound(model.asked[1].messages)


async def test_ids_that_come_again_are_made_anew() -> None:
    model = ScriptedModel(call(add(1, 2)), call(add(3, 4)), answer("ok"))
    result = await build_graph(model).ainvoke(HI)
    assert results(result["messages"]) == [("3", "success"), ("7", "success")]
    assert len({message.tool_call_id for message in result["messages"] if isinstance(message, ToolMessage)}) == 2
    assert_sound(model.asked[2].messages)


async def test_a_tool_that_asks_a_human(api: Api) -> None:
    @tool
    def pay(amount: int) -> str:
        """Pay, if a human agrees."""
        return f"{interrupt({'amount': amount})}: {amount}"

    model = ScriptedModel(call(("pay", {"amount": 5}, "a"), add(1, 2, "b")), answer("done"))
    graph = build_graph(model, [pay, *build_tools()], checkpointer=InMemorySaver())
    await outcome(graph, api, HI, THREAD)
    state = await graph.aget_state(THREAD)
    assert [i.value for i in state.interrupts] == [{"amount": 5}]
    assert state.values.get("final_answer") is None
    result = await outcome(graph, api, Command(resume="agreed"), THREAD)
    assert results(result["messages"]) == [("agreed: 5", "success"), ("3", "success")]
    assert result["final_answer"] == {"answer": "done", "tools_used": ["pay", "add"]}


def build_tools() -> list[Any]:
    @tool("add")
    def add_(x: int, y: int) -> int:
        """Add."""
        return x + y

    return [add_]


async def test_a_tool_may_update_the_state_by_a_command() -> None:
    @tool
    def note(tool_call_id: Annotated[str, InjectedToolArg] = "n") -> Command[Any]:
        """Write a note."""
        return Command(update={"messages": [ToolMessage("noted", tool_call_id="n")]})

    result = await build_graph(ScriptedModel(call(("note", {}, "n")), answer("ok")), [note]).ainvoke(HI)
    assert result["final_answer"] == {"answer": "ok", "tools_used": ["note"]}


INNER = ScriptedModel(say("secret thoughts"), repeats=True)


@tool("think")
async def passes_config_on(config: RunnableConfig) -> str:
    """Ask another model."""
    return (await INNER.ainvoke("think!", config)).text


@tool("think")
def passes_config_on_synchronously(config: RunnableConfig) -> str:
    """Ask another model."""
    return INNER.invoke("think!", config).text


@tool("think")
async def leaves_config_to_the_context() -> str:
    """Ask another model."""
    return (await INNER.ainvoke("think!")).text


@pytest.mark.parametrize("think", [passes_config_on, passes_config_on_synchronously, leaves_config_to_the_context])
async def test_what_a_tool_runs_shows_under_the_tool_and_never_in_the_answer(think: BaseTool) -> None:
    graph = build_graph(ScriptedModel(call(("think", {}, "t")), answer("The public answer.")), [think])
    events = [event async for event in graph.astream_events(HI, version="v2")]
    (tool_run,) = [e["run_id"] for e in events if e["event"] == "on_tool_start"]
    tokens = [e for e in events if e["event"] == "on_chat_model_stream"]
    inside = [e for e in tokens if tool_run in e["parent_ids"]]
    outside = [e for e in tokens if tool_run not in e["parent_ids"]]
    assert "".join(e["data"]["chunk"].text for e in inside) == "secret thoughts"
    assert "".join(e["data"]["chunk"].text for e in outside) == "The public answer."
    assert all(e["parent_ids"][-1] == tool_run for e in inside)
    assert events[-1]["data"]["output"]["final_answer"]["answer"] == "The public answer."


# That it always ends


async def test_the_last_call_can_only_answer(api: Api) -> None:
    model = ScriptedModel(call(add(1, 2)), call(add(3, 4)), answer("enough"))
    result = await outcome(build_graph(model), api, context={"max_iterations": 2})
    assert result["final_answer"] == {"answer": "enough", "tools_used": ["add"]}
    assert (model.asked[-1].tools, model.asked[-1].tool_choice) == (["final_answer"], "final_answer")
    assert "final_answer now" in model.asked[-1].messages[0].text


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (say("So be it."), "So be it."),
        (call(add(5, 6)), "No answer was reached within 1 step."),
        (call(add(5, 6), text="Let me add."), "Let me add."),
        (call(("add", "{]", "x")), "No answer was reached within 1 step."),
        (say(""), "The model gave no valid answer within 1 step."),
        (Reply(calls=[("final_answer", "{]", "f")]), "The model gave no valid answer within 1 step."),
    ],
)
async def test_a_model_that_will_not_answer_is_stopped(api: Api, last: Reply, said: str) -> None:
    model = ScriptedModel(call(add(1, 2)), last, answer("next turn"))
    graph = build_graph(model, checkpointer=InMemorySaver())
    result = await outcome(graph, api, HI, THREAD, context=Context(max_iterations=1))
    assert result["final_answer"] == {"answer": said, "tools_used": ["add"]}
    assert result["messages"][-1].text == said
    await outcome(graph, api, HI, THREAD)
    assert len(model.asked) == 3
    assert_sound(model.asked[-1].messages)


async def test_what_is_said_in_the_models_place_is_streamed_whole() -> None:
    model = ScriptedModel(call(add(1, 2)), repeats=True)
    messages = await streamed(build_graph(model), context={"max_iterations": 1})
    assert messages[-1].text == "No answer was reached within 1 step."


@pytest.mark.parametrize(
    "bad",
    [
        Reply(calls=[("final_answer", "{]", "f")]),
        Reply(calls=[("final_answer", "{}", "f")]),
        say(""),
        say(" \n"),
    ],
)
async def test_an_unreadable_answer_is_asked_for_again(api: Api, bad: Reply) -> None:
    model = ScriptedModel(call(add(1, 2)), bad, answer("Now then."))
    result = await outcome(build_graph(model), api)
    assert result["final_answer"] == {"answer": "Now then.", "tools_used": ["add"]}
    assert "could not be read" in model.asked[2].messages[0].text
    assert [m.type for m in model.asked[2].messages] == ["system", "human", "ai", "tool"]


async def test_asking_again_is_bounded(api: Api) -> None:
    model = ScriptedModel(say(""), repeats=True)
    result = await outcome(build_graph(model), api, context={"max_iterations": 3})
    assert result["final_answer"]["answer"] == "The model gave no valid answer within 3 steps."
    assert len(model.asked) == 4


@pytest.mark.parametrize("limit", [3, 4, 5, 6, 7, 8, 9])
async def test_the_recursion_limit_is_respected_before_it_strikes(api: Api, limit: int) -> None:
    def reply(messages: list[BaseMessage]) -> Reply:
        return answer("in time") if "final_answer now" in messages[0].text else call(add(1, 2))

    graph = build_graph(ScriptedModel(reply, repeats=True))
    result = await outcome(graph, api, config={"recursion_limit": limit})
    assert result["final_answer"]["answer"] == "in time"


async def test_a_thousand_iterations() -> None:
    model = ScriptedModel(*([call(("echo", {}, "e"))] * 1000), answer("at last"))

    @tool
    def echo() -> str:
        """Say it again."""
        return "again"

    result = await build_graph(model, [echo]).ainvoke(HI, context={"max_iterations": 1000})
    assert result["final_answer"]["answer"] == "at last"
    assert len(model.asked) == 1001


async def test_a_model_that_fails_fails_the_run(api: Api) -> None:
    with pytest.raises(RuntimeError, match="no connection"):
        await outcome(build_graph(ScriptedModel(RuntimeError("no connection"))), api)


# What a run may choose


async def test_the_context_reaches_the_model() -> None:
    model = ScriptedModel(answer("ok"))
    await build_graph(model).ainvoke(HI, context={"system_prompt": "Be brief.", "temperature": 0.5})
    assert model.asked[0].messages[0].content == "Be brief."
    assert model.asked[0].options["temperature"] == 0.5


async def test_without_a_system_prompt_there_is_no_system_message() -> None:
    model = ScriptedModel(answer("ok"))
    await build_graph(model).ainvoke(HI, context={"system_prompt": ""})
    assert [m.type for m in model.asked[0].messages] == ["human"]


async def test_a_wrong_context_is_refused(api: Api) -> None:
    with pytest.raises(ValueError, match="max_iterations must be a whole number from 1"):
        await outcome(build_graph(ScriptedModel()), api, context={"max_iterations": 0})


async def test_a_model_named_in_the_context_is_taken_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    model = ScriptedModel(answer("scripted"))
    graph = build_graph(model)
    result = await graph.ainvoke({"messages": "What is 7 * 25?"}, context={"model": "offline"})
    assert "175" in result["final_answer"]["answer"]
    assert result["final_answer"]["tools_used"] == ["multiply"]
    assert not model.asked


async def test_a_model_that_decodes_its_answers_is_not_wrapped_again() -> None:
    model = ScriptedModel(answer('{"answer": "quoted"}'))
    result = await build_graph(FinalAnswerModel(inner=model)).ainvoke(HI)
    assert result["final_answer"]["answer"] == '{"answer": "quoted"}'


async def test_a_model_that_cannot_stream() -> None:
    model = ScriptedModel(call(add(1, 2)), answer("three"), disable_streaming=True)
    messages = await streamed(build_graph(model))
    assert messages[-1].text == "three"


@pytest.mark.parametrize("names", [["add", "add"], ["final_answer"]])
def test_tools_need_names_of_their_own(names: list[str]) -> None:
    def nothing() -> None:
        """Do nothing."""

    with pytest.raises(ValueError, match="names of their own"):
        build_graph(ScriptedModel(), [tool(name)(nothing) for name in names])


async def test_without_tools_the_agent_only_answers() -> None:
    model = ScriptedModel(answer("ok"))
    await build_graph(model, []).ainvoke(HI)
    assert model.asked[0].tools == ["final_answer"]


# What is left of a run that was cut off


async def cut_after(graph: Graph, updates: int) -> bool:
    """Run a turn, but leave after so many updates. Returns whether the turn was over by then."""
    stream = graph.astream(HI, THREAD, stream_mode="updates", durability="sync")
    seen = 0
    async for _ in stream:
        seen += 1
        if seen == updates:
            await stream.aclose()  # type: ignore[attr-defined]
            return False
    return True


async def turns_cut_short() -> AsyncIterator[tuple[Graph, ScriptedModel]]:
    for updates in range(1, 20):
        script = [call(add(1, 2), add(3, 4, "b")), call(add(5, 6, "c")), answer("eleven")]
        model = ScriptedModel(*script)
        graph = build_graph(model, checkpointer=InMemorySaver())
        if await cut_after(graph, updates):
            assert updates == 8
            return
        model.script[len(model.asked) :] = [answer("next")]
        yield graph, model


async def test_after_a_cut_anywhere_the_next_turn_works(api: Api) -> None:
    async for graph, model in turns_cut_short():
        result = await outcome(graph, api, {"messages": "next"}, THREAD)
        assert result["final_answer"] == {"answer": "next", "tools_used": []}
        assert_sound(model.asked[-1].messages)
        assert_sound(result["messages"])
        assert (await graph.aget_state(THREAD)).values["messages"] == result["messages"]
        assert [m.text for m in result["messages"] if isinstance(m, HumanMessage)] == ["hi", "next"]


async def test_a_run_cancelled_while_a_tool_works() -> None:
    started = asyncio.Event()

    @tool
    async def hang() -> str:
        """Never end."""
        started.set()
        await asyncio.Event().wait()
        return "never"

    model = ScriptedModel(call(add(1, 2), ("hang", {}, "h")), answer("next"))
    graph = build_graph(model, [hang, *build_tools()], checkpointer=InMemorySaver())
    run = asyncio.create_task(graph.ainvoke(HI, THREAD))
    await started.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    result = await graph.ainvoke({"messages": "next"}, THREAD)
    assert ("The call was cancelled before it finished.", "error") in results(result["messages"])
    assert_sound(result["messages"])
    assert_sound(model.asked[-1].messages)
    assert result["final_answer"] == {"answer": "next", "tools_used": []}


async def test_a_run_cancelled_while_the_model_speaks() -> None:
    speaking = asyncio.Event()
    model = ScriptedModel(call(add(1, 2)), Reply("Well, ", holds=speaking), answer("next"))
    graph = build_graph(model, checkpointer=InMemorySaver())
    run = asyncio.create_task(graph.ainvoke(HI, THREAD))
    await speaking.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    result = await graph.ainvoke({"messages": "next"}, THREAD)
    assert [m.type for m in result["messages"]] == ["human", "ai", "tool", "human", "ai"]
    assert result["final_answer"] == {"answer": "next", "tools_used": []}


async def test_a_run_goes_on_from_its_last_checkpoint() -> None:
    async for graph, model in turns_cut_short():
        asked = len(model.asked)
        model.script[asked:] = [answer("went on")]
        result = await graph.ainvoke(None, THREAD)
        assert result["final_answer"]["answer"] in ("went on", "eleven")
        assert_sound(result["messages"])


async def test_a_turn_edited_as_the_agent_goes_on() -> None:
    """As Studio does it: a call is changed while the run waits before the tools."""
    model = ScriptedModel(call(add(1, 2)), answer("done"))
    graph = build_graph(model, checkpointer=InMemorySaver())
    await graph.ainvoke(HI, THREAD, interrupt_before=["tools"])
    asked = (await graph.aget_state(THREAD)).values["messages"][-1]
    edited = asked.model_copy(update={"tool_calls": [{**asked.tool_calls[0], "args": {"x": 40, "y": 2}}]})
    await graph.aupdate_state(THREAD, {"messages": [edited]}, as_node="agent")
    assert (await graph.aget_state(THREAD)).next == ("tools",)
    result = await graph.ainvoke(None, THREAD)
    assert results(result["messages"]) == [("42", "success")]
    assert result["final_answer"]["answer"] == "done"


async def test_a_thread_stopped_before_its_answer_goes_on() -> None:
    graph = build_graph(ScriptedModel(call(add(1, 2)), answer("three")), checkpointer=InMemorySaver())
    await graph.ainvoke(HI, THREAD, interrupt_before=["final_answer"])
    assert (await graph.aget_state(THREAD)).next == ("final_answer",)
    assert graph.invoke(None, THREAD)["final_answer"] == {"answer": "three", "tools_used": ["add"]}


async def test_an_answer_node_that_is_sent_nothing_reads_the_state(api: Api) -> None:
    """An earlier version sent it nothing; its threads may have been stopped there."""
    graph = build_graph(ScriptedModel(call(add(1, 2)), answer("three")), checkpointer=InMemorySaver())
    await graph.ainvoke(HI, THREAD)
    result = await outcome(graph, api, Command(goto=Send("final_answer", None)), THREAD)
    assert result["final_answer"] == {"answer": "three", "tools_used": ["add"]}
