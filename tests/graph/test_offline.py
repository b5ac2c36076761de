"""The offline model from outside: driven with real tools, as an agent drives it, and as a plain chat model."""

import asyncio
import json
import math
import operator
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import JsonOutputParser
from langchain_core.tools import tool

from graph.final_answer import FinalAnswerModel
from graph.offline import OfflineChatModel
from graph.offline.numbers import in_words

Number = int | float


def _power(x: Number, y: Number) -> Any:
    return pow(float(x), float(y))


COMPUTE: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "exponentiate": _power,
}
SYMBOLS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "exponentiate": "**"}


def compute(name: str, x: Number, y: Number) -> Number:
    value = COMPUTE[name](x, y)
    if isinstance(value, complex) or not math.isfinite(value):
        raise ArithmeticError("not a finite real number")
    return value  # type: ignore[no-any-return]


@tool
def final_answer(answer: str, tools_used: list[str]) -> str:
    """Give the final answer."""
    return answer


def schema(name: str) -> dict[str, Any]:
    numbers = {"x": {"type": "number"}, "y": {"type": "number"}}
    parameters = {"type": "object", "properties": numbers, "required": ["x", "y"]}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


ALL = [*map(schema, COMPUTE), final_answer]
Call = tuple[str, Number, Number]


def calls(reply: AIMessage) -> list[Call]:
    return [(call["name"], call["args"]["x"], call["args"]["y"]) for call in reply.tool_calls]


def results(reply: AIMessage) -> list[BaseMessage]:
    """Run the calls of a reply, as a tool node does."""
    done: list[BaseMessage] = []
    for call in reply.tool_calls:
        try:
            content, status = str(compute(call["name"], call["args"]["x"], call["args"]["y"])), "success"
        except ArithmeticError as error:
            content, status = f"Error: {error}", "error"
        done.append(ToolMessage(content, tool_call_id=call["id"] or "", name=call["name"], status=status))
    return done


@dataclass
class Turn:
    """A turn until its answer: the calls of each reply before it, the answer, and the thread with it at its end."""

    rounds: list[list[Call]]
    answer: str
    tools_used: list[str]
    thread: list[BaseMessage]


def ask(question: str, thread: Sequence[BaseMessage] = (), tools: Sequence[Any] = ALL, rounds: int = 10_000) -> Turn:
    """Ask, and run tools for the model until it answers; after so many rounds it may do nothing else."""
    messages: list[BaseMessage] = [*thread, HumanMessage(question)]
    made: list[list[Call]] = []
    while True:
        model = OfflineChatModel()
        bound = (
            model.bind_tools(tools, tool_choice="any")
            if len(made) < rounds
            else model.bind_tools([final_answer], tool_choice="final_answer")
        )
        reply = bound.invoke(messages)
        if reply.tool_calls[0]["name"] == "final_answer":
            args = reply.tool_calls[0]["args"]
            return Turn(made, args["answer"], args["tools_used"], [*messages, AIMessage(args["answer"])])
        made.append(calls(reply))
        messages += [reply, *results(reply)]


def test_independent_parts_are_called_together_and_rounds_are_as_many_as_levels() -> None:
    turn = ask("What is (1 + 2) * (3 + 4) - (5 - 9) / (7 + 8)?")
    assert turn.rounds == [
        [("add", 1, 2), ("add", 3, 4), ("subtract", 5, 9), ("add", 7, 8)],
        [("multiply", 3, 7), ("divide", -4, 15)],
        [("subtract", 21, -4 / 15)],
    ]
    assert turn.tools_used == ["add", "subtract", "multiply", "divide"]
    assert turn.answer == f"(1 + 2) * (3 + 4) - (5 - 9) / (7 + 8) is {21 + 4 / 15}."


def test_whole_numbers_stay_whole_and_are_also_said_in_words() -> None:
    turn = ask("What is 7 * 25?")
    assert [type(operand) for operand in turn.rounds[0][0][1:]] == [int, int]
    assert turn.answer == "7 * 25 is 175 (one hundred seventy-five)."
    assert ask("350 / 2").answer == "350 / 2 is 175 (one hundred seventy-five)."


def test_what_the_tools_returned_counts() -> None:
    model = OfflineChatModel().bind_tools(ALL)
    thread: list[BaseMessage] = [HumanMessage("(2 + 2) * 3")]
    first = model.invoke(thread)
    wrong = ToolMessage("5", tool_call_id=first.tool_calls[0]["id"] or "")
    assert calls(model.invoke([*thread, first, wrong])) == [("multiply", 5, 3)]


def test_equal_parts_are_called_once() -> None:
    assert ask("(2 + 3) * (2 + 3) + (2 + 3)").rounds == [[("add", 2, 3)], [("multiply", 5, 5)], [("add", 25, 5)]]


def test_a_number_needs_no_tools() -> None:
    turn = ask("What is twenty-five?")
    assert (turn.rounds, turn.answer, turn.tools_used) == ([], "25 is 25 (twenty-five).", [])


@pytest.mark.parametrize(
    ("question", "rounds", "answer"),
    [
        ("+5 - --3", [[("subtract", 5, 3)]], "5 - --3 is 2 (two)."),
        ("-(3 + 4) ** 2", [[("add", 3, 4)], [("exponentiate", 7, 2)], [("subtract", 0, 49)]], "-(3 + 4) ** 2 is -49"),
        ("negative five", [], "-5 is -5 (minus five)."),
        ("minus half of 3", [[("divide", 3, 2)], [("subtract", 0, 1.5)]], "-(3 / 2) is -1.5."),
    ],
)
def test_signs(question: str, rounds: list[list[Call]], answer: str) -> None:
    turn = ask(question)
    assert turn.rounds == rounds
    assert turn.answer.startswith(answer)


def test_several_questions_are_answered_in_turn() -> None:
    turn = ask("What is 2+2, and what is 3*7? Then multiply the result by 2.")
    assert turn.rounds == [[("add", 2, 2), ("multiply", 3, 7)], [("multiply", 21, 2)]]
    assert turn.answer == "2 + 2 is 4 (four). 3 * 7 is 21 (twenty-one). 3 * 7 * 2 is 42 (forty-two)."


def test_a_failed_call_is_not_repeated_and_spoils_nothing_else() -> None:
    turn = ask("1 / 0 + 5; 2 + 2")
    assert turn.rounds == [[("divide", 1, 0), ("add", 2, 2)]]
    assert turn.answer == ("1 / 0 + 5 cannot be computed: divide(1, 0) failed: division by zero. 2 + 2 is 4 (four).")


@pytest.mark.parametrize("content", ["nan", "inf", "about four", "1" * 5_000, ""])
def test_a_result_that_is_no_number(content: str) -> None:
    model = OfflineChatModel().bind_tools(ALL)
    first = model.invoke("2 + 2")
    second = model.invoke(
        [HumanMessage("2 + 2"), first, ToolMessage(content, tool_call_id=first.tool_calls[0]["id"] or "")]
    )
    assert "2 + 2 cannot be computed: add(2, 2) failed: it returned" in second.tool_calls[0]["args"]["answer"]


def test_a_tool_that_is_not_there_is_named() -> None:
    turn = ask("2 ** 3 + 1; 2 + 2", tools=[schema("add"), final_answer])
    assert turn.answer == '2 ** 3 + 1 cannot be computed: the tool "exponentiate" is not available. 2 + 2 is 4 (four).'


def test_stopped_early_it_says_how_far_it_came() -> None:
    turn = ask("(1 + 2) * (3 + 4) * 5; 6 - 4", rounds=2)
    assert turn.answer == (
        "(1 + 2) * (3 + 4) * 5 is not done: I had to stop early, as no more tools may be called. "
        "6 - 4 is 2 (two). So far (1 + 2) * (3 + 4) gives 21."
    )
    assert turn.tools_used == ["add", "subtract", "multiply"]
    assert "Nothing else has been computed." in ask("1 + 2", rounds=0).answer


@pytest.mark.parametrize(
    ("question", "expected"),
    [("times 3", 21), ("add 5 to that", 12), ("and divided by 4?", 1.75), ("What is the result minus 10?", -3)],
)
def test_a_thread_goes_on_from_its_last_result(question: str, expected: Number) -> None:
    first = ask("What is 3 + 4?")
    chat = ask("Thanks!", first.thread)
    assert f" is {expected}" in ask(question, first.thread).answer
    assert f" is {expected}" in ask(question, chat.thread).answer


def test_a_thread_goes_on_from_whatever_stated_the_last_result() -> None:
    texts = [HumanMessage("3 + 4?"), AIMessage('As "3 + 4 = 8" is wrong, the sum is: **1,007.5**.')]
    assert ask("times 2", texts).rounds == [[("multiply", 1007.5, 2)]]
    reply = OfflineChatModel().bind_tools(ALL).invoke("3 + 4")
    unanswered = [HumanMessage("3 + 4"), reply, *results(reply)]
    assert ask("times 2", unanswered).rounds == [[("multiply", 7, 2)]]
    raw = {"name": "final_answer", "args": {"answer": "3 + 4 is 7 (seven).", "tools_used": []}, "id": "1"}
    assert ask("times 2", [HumanMessage("3 + 4"), AIMessage("", tool_calls=[raw])]).rounds == [[("multiply", 7, 2)]]


@pytest.mark.parametrize("first", ["1 / 0", "Hello!", "x + 3 = 7"])
def test_a_turn_that_came_to_nothing_is_not_gone_on_from(first: str) -> None:
    turn = ask("times 2", ask(first).thread)
    assert turn.rounds == []
    assert "there is no earlier result to go on from" in turn.answer


def test_what_cannot_be_read_is_named_with_what_can() -> None:
    turn = ask("What is 3 + * 4?")
    assert turn.answer.startswith(
        'I could not read "What is 3 + * 4?": a number is missing before "*" at character 13. '
        "This is Threadline's offline model."
    )


@pytest.mark.parametrize("question", ["Hello!", "What is the capital of France?", ""])
def test_anything_else_is_declined(question: str) -> None:
    answer = ask(question).answer
    assert answer.startswith("This is Threadline's offline model. All it can do is arithmetic")
    assert "OPENAI_API_KEY" in answer
    assert "OPENAI_BASE_URL" in answer


@pytest.mark.parametrize("question", ["(" * 9_000, "1+" * 50_000 + "1", "-" * 9_999 + "1", "2**" * 3_000 + "2"])
def test_hostile_questions_are_declined(question: str) -> None:
    turn = ask(question)
    assert turn.rounds == []
    assert len(turn.answer) < 600


def test_half_a_surrogate_pair_is_not_repeated() -> None:
    ask("3 + * \ud800").answer.encode()
    OfflineChatModel().invoke("\ud800 hello").text.encode()


Tree = Any
"""A number, ("negative", tree), or (tool, tree, tree)."""

_numbers = st.integers(0, 999) | st.sampled_from([0.5, 2.25, 0.1, 1e3, 12345])
_trees = st.recursive(
    _numbers,
    lambda trees: (
        st.tuples(st.sampled_from(["add", "subtract", "multiply", "divide"]), trees, trees)
        | st.tuples(st.just("exponentiate"), trees, st.integers(0, 3))
        | st.tuples(st.just("negative"), trees)
    ),
    max_leaves=8,
)
_BINDING = {"add": 1, "subtract": 1, "multiply": 2, "divide": 2, "negative": 3, "exponentiate": 4}
_INFIX = {
    "add": ["+", " plus ", " added to "],
    "subtract": ["-", " minus "],
    "multiply": ["*", "×", " times ", " multiplied by ", " x"],
    "divide": ["/", "÷", " divided by ", " over "],
    "exponentiate": ["**", "^", " to the power of ", " raised to the power of "],
}
_NOUN = {"add": "sum of", "subtract": "difference between", "multiply": "product of", "divide": "quotient of"}


def _value(tree: Tree) -> Number:
    if not isinstance(tree, tuple):
        return tree  # type: ignore[no-any-return]
    if tree[0] != "negative":
        return compute(tree[0], _value(tree[1]), _value(tree[2]))
    operand = _value(tree[1])
    return compute("subtract", 0, operand) if _depth(tree[1]) else -operand


def _depth(tree: Tree) -> int:
    if not isinstance(tree, tuple):
        return 0
    if tree[0] == "negative":
        return _depth(tree[1]) and _depth(tree[1]) + 1
    return 1 + max(_depth(tree[1]), _depth(tree[2]))


@st.composite
def _written(draw: st.DrawFn, tree: Tree, least: int = 0) -> str:
    """Write a tree in symbols and words, spaced at random, with the parentheses it needs and some that it does not."""

    def part(of: Tree, binding: int) -> str:
        return draw(_written(of, binding))

    def space() -> str:
        return draw(st.sampled_from(["", "", " ", "  "]))

    if not isinstance(tree, tuple):
        return draw(st.sampled_from([str(tree), *([in_words(tree), f"{tree:,}"] if isinstance(tree, int) else [])]))
    kind, binding = tree[0], _BINDING[tree[0]]
    if kind == "negative":
        text = f"-{space()}{part(tree[1], binding)}"
    elif kind in _NOUN and draw(st.integers(0, 3)) == 0:
        return f"(the {_NOUN[kind]} {part(tree[1], 9)} and {part(tree[2], 9)})"
    else:
        left, right = (binding + 1, 3) if kind == "exponentiate" else (binding, binding + 1)
        # Only a symbol may stand next to a number in words without a space.
        sign = draw(st.sampled_from(_INFIX[kind]))
        text = f"{part(tree[1], left)} {space()}{sign}{space()} {part(tree[2], right)}"
    return f"({space()}{text}{space()})" if binding < least or draw(st.integers(0, 4)) == 0 else text


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_expression_comes_to_what_python_makes_of_it(data: st.DataObject) -> None:
    tree = data.draw(_trees)
    question = data.draw(_written(tree))
    turn = ask(f"What is {question}?")
    assert len(turn.rounds) <= _depth(tree)
    try:
        value = _value(tree)
    except ArithmeticError:
        assert "cannot be computed" in turn.answer
        return
    stated = re.search(r" is (\S+?)\.?(?: \(.*\)\.)?$", turn.answer)
    assert stated, turn.answer
    assert float(stated[1]) == float(value)


@pytest.fixture(params=["(1 + 2) * (3.5 - 4)", "What is 5?", "Sag's auf Französisch: ü 🙂 {}"])
def question(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def without_ids(message: AIMessage) -> dict[str, Any]:
    return {
        "content": message.content,
        "calls": [{**call, "id": None} for call in message.tool_calls],
        "invalid": message.invalid_tool_calls,
        "additional": message.additional_kwargs,
        "usage": message.usage_metadata,
        "metadata": {key: message.response_metadata[key] for key in ("finish_reason", "model_name")},
    }


def merged(chunks: Sequence[AIMessageChunk]) -> AIMessageChunk:
    return chunks[0] + list(chunks[1:])


@pytest.mark.parametrize("tools", [ALL, []])
async def test_a_stream_adds_up_to_the_whole_reply(question: str, tools: list[Any]) -> None:
    model = OfflineChatModel().bind_tools(tools)
    whole = without_ids(model.invoke(question))
    assert without_ids(merged(list(model.stream(question)))) == whole
    assert without_ids(merged([chunk async for chunk in model.astream(question)])) == whole
    assert without_ids(await model.ainvoke(question)) == whole


def test_calls_are_streamed_in_fragments() -> None:
    chunks = list(OfflineChatModel().bind_tools(ALL).stream("(1 + 2) * (30000 + 400000)"))
    assert (chunks[0].content, chunks[0].tool_call_chunks) == ("", [])
    pieces = [chunk.tool_call_chunks[0] for chunk in chunks if chunk.tool_call_chunks]
    openings = [piece for piece in pieces if piece["id"]]
    assert [(piece["name"], piece["args"], piece["index"]) for piece in openings] == [("add", "", 0), ("add", "", 1)]
    assert len({piece["id"] for piece in openings}) == 2
    fragments = [[piece["args"] or "" for piece in pieces if piece["index"] == index] for index in (0, 1)]
    assert json.loads("".join(fragments[1])) == {"x": 30_000, "y": 400_000}
    assert all(len(fragment) <= 9 for call in fragments for fragment in call)
    assert min(len(call) for call in fragments) > 5
    last = chunks[-1]
    assert last.chunk_position == "last"
    assert last.response_metadata["finish_reason"] == "tool_calls"
    assert last.response_metadata["model_name"] == "offline"
    assert last.usage_metadata
    assert [chunk for chunk in chunks if chunk.usage_metadata or chunk.chunk_position] == [last]


def test_usage_grows_with_the_conversation() -> None:
    model = OfflineChatModel().bind_tools(ALL)
    first = model.invoke("1 + 2")
    second = model.invoke([HumanMessage("1 + 2"), first, *results(first)])
    assert first.usage_metadata
    assert second.usage_metadata
    assert first.usage_metadata["input_tokens"] == 3
    spoken = first.usage_metadata["total_tokens"]
    assert second.usage_metadata["input_tokens"] == spoken + 1
    assert spoken == 3 + first.usage_metadata["output_tokens"]


def test_an_answer_streams_as_text_where_final_answer_is_decoded() -> None:
    model = FinalAnswerModel(inner=OfflineChatModel()).bind_tools(ALL, tool_choice="any")
    chunks = list(model.stream("What is 5?"))
    assert "".join(chunk.text for chunk in chunks) == "5 is 5 (five)."
    assert sum(bool(chunk.text) for chunk in chunks) > 3


async def test_a_delay_comes_after_each_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    delays: list[float] = []

    async def asleep(seconds: float) -> None:
        delays.append(seconds)

    monkeypatch.setattr(time, "sleep", delays.append)
    model = OfflineChatModel(delay=0.25)
    chunks = list(model.stream("Hi"))
    monkeypatch.setattr(asyncio, "sleep", asleep)
    chunks += [chunk async for chunk in model.astream("Hi")]
    assert delays == [0.25] * len(chunks)


@pytest.mark.parametrize("choice", ["add", {"type": "function", "function": {"name": "add"}}])
def test_only_the_chosen_tool_is_called(choice: str | dict[str, Any]) -> None:
    reply = OfflineChatModel().bind_tools(ALL, tool_choice=choice).invoke("1 + 2; 3 * 4")
    assert calls(reply) == [("add", 1, 2)]


@pytest.mark.parametrize("choice", [None, False, True, "any", "required", "auto"])
def test_choices_that_leave_every_tool_open(choice: str | bool | None) -> None:
    reply = OfflineChatModel().bind_tools(ALL, tool_choice=choice).invoke("1 + 2; 3 * 4")
    assert calls(reply) == [("add", 1, 2), ("multiply", 3, 4)]


def test_no_calls_where_none_are_allowed() -> None:
    reply = OfflineChatModel().bind_tools(ALL, tool_choice="none").invoke("1 + 2")
    assert not reply.tool_calls
    assert "no more tools may be called" in reply.text


@pytest.mark.parametrize("choice", ["sqrt", {"type": "function", "function": {"name": "sqrt"}}])
def test_a_choice_of_a_tool_that_is_not_bound(choice: str | dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="'sqrt', which is not one of the tools: add, "):
        OfflineChatModel().bind_tools(ALL, tool_choice=choice)


def test_without_final_answer_the_answer_is_text() -> None:
    model = OfflineChatModel().bind_tools(ALL[:-1])
    first = model.invoke("1 + 2")
    second = model.invoke([HumanMessage("1 + 2"), first, *results(first)])
    assert (second.text, second.tool_calls) == ("1 + 2 is 3 (three).", [])
    assert second.response_metadata["finish_reason"] == "stop"


def test_without_tools_it_says_what_it_is() -> None:
    chunks = list(OfflineChatModel().stream("Tell me a long story about 2 + 2 and a dog"))
    text = "".join(chunk.text for chunk in chunks)
    assert text.startswith('You wrote "Tell me a long story about 2 +…". This is Threadline\'s offline model.')
    assert "OPENAI_API_KEY" in text
    assert sum(bool(chunk.text) for chunk in chunks) > 20


def test_text_ends_before_a_stop_sequence() -> None:
    assert OfflineChatModel().invoke("Hi there", stop=["model", " offline"]).text.endswith("This is Threadline's")


PASSAGES = """Runs are stored in SQLite. The log of a run has events.

Cats sleep all day! Dogs do not."""


@pytest.mark.parametrize(
    "messages",
    [
        [SystemMessage(f"Answer briefly.\nContext:\n{PASSAGES}"), HumanMessage("Where is a run stored?")],
        [SystemMessage(f"Use the passages below only.\n\n{PASSAGES}"), HumanMessage("Where is a run stored?")],
        [HumanMessage(f"Context: {PASSAGES}\nQuestion: Where is a run stored?")],
        [HumanMessage(f"Where is a run stored?\nContext: {PASSAGES}")],
    ],
)
def test_a_context_is_quoted_where_it_is_nearest_to_the_question(messages: list[BaseMessage]) -> None:
    assert OfflineChatModel().invoke(messages).text == "Runs are stored in SQLite."


def test_a_context_without_an_answer() -> None:
    messages = [SystemMessage(f"Context: {PASSAGES}"), HumanMessage("Who wrote Hamlet?")]
    assert OfflineChatModel().invoke(messages).text == "The context does not say."


@pytest.mark.parametrize("name", ["JSON", "json", "Json"])
def test_json_is_given_where_it_is_asked_for_and_grows(name: str) -> None:
    messages = [SystemMessage(f"Reply with {name} only."), HumanMessage("Add 3 dogs + twenty-one cats, 2.5 × more!")]
    expected = {
        "numbers": [3, 21, 2.5],
        "operators": ["+", "×"],
        "words": ["Add", "dogs", "cats", "more"],
    }
    partials = list((OfflineChatModel() | JsonOutputParser()).stream(messages))
    assert partials[-1] == expected
    assert {"numbers": [3]} in partials
    by_option = OfflineChatModel().invoke(messages[1:], response_format={"type": "json_object"})
    assert json.loads(by_option.text) == expected


def test_traces_show_which_model_it_is() -> None:
    shown: list[dict[str, Any]] = []

    class Handler(BaseCallbackHandler):
        def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
            shown.append(kwargs["metadata"])

    OfflineChatModel().invoke("Hi", config={"callbacks": [Handler()]})
    assert (shown[0]["ls_provider"], shown[0]["ls_model_name"]) == ("threadline", "offline")
