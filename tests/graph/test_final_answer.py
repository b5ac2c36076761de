"""The final_answer call becomes text: the decoder, the rules for one message, and the model around any other."""

import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import reduce
from itertools import pairwise
from operator import add as merge
from types import FrameType
from typing import Annotated, Any, ClassVar, TypedDict

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.graph import START, StateGraph, add_messages

from graph.final_answer import FINAL_ANSWER, FinalAnswerDecoder, FinalAnswerError, FinalAnswerModel

WAYS = ("invoke", "ainvoke", "stream", "astream")


def well_formed(value: Any) -> Any:
    """JSON values as UTF-8 can hold them: pairs of surrogates joined, single ones replaced."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {well_formed(key): well_formed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [well_formed(item) for item in value]
    return value


# The decoder

text = st.text(st.characters(exclude_categories=()) | st.sampled_from('"\\/\n\t\0{}[]:,\ud83d\ude00😀'))
space = st.text(st.sampled_from(" \t\r\n"), max_size=3)
keys = text.filter(lambda key: well_formed(key) != "answer")
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text | st.just('{"answer": "no"}'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text | st.just("answer"), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def quoted(draw: st.DrawFn, value: str) -> str:
    """A JSON string in any of the ways in which it can be written."""
    written = []
    for char in value:
        unit = char.encode("utf-16-be", "surrogatepass")
        escaped = "".join(f"\\u{unit[i : i + 2].hex()}" for i in range(0, len(unit), 2))
        plain = char if char not in '"\\' else f"\\{char}"
        short = {"\n": "\\n", "\t": "\\t", "/": "\\/", "\r": "\\r", "\b": "\\b", "\f": "\\f"}.get(char, plain)
        written.append(draw(st.sampled_from([plain, short, escaped, escaped.upper().replace("\\U", "\\u")])))
    return '"' + "".join(written) + '"'


@st.composite
def written_arguments(draw: st.DrawFn) -> tuple[str, str, dict[str, Any]]:
    """A call's JSON, the answer in it and its other arguments."""
    answer = draw(text)
    others = draw(st.dictionaries(keys, values, max_size=4))
    members = [(draw(quoted("answer")), draw(quoted(answer)))]
    for key, value in others.items():
        members.append((draw(quoted(key)), json.dumps(value, ensure_ascii=draw(st.booleans()))))
    gap = [draw(space) for _ in range(6)]
    body = ",".join(f"{gap[1]}{k}{gap[2]}:{gap[3]}{v}{gap[4]}" for k, v in draw(st.permutations(members)))
    return f"{gap[0]}{{{body}}}{gap[5]}", answer, others


@st.composite
def split_anywhere(draw: st.DrawFn, whole: str) -> list[str]:
    cuts = draw(st.lists(st.integers(0, len(whole)), max_size=8))
    return [whole[start:end] for start, end in pairwise([0, *sorted(cuts), len(whole)])]


def decode(fragments: Sequence[str]) -> tuple[str, dict[str, Any]]:
    decoder = FinalAnswerDecoder()
    return "".join([decoder.feed(fragment) for fragment in fragments]), decoder.finish()


@given(st.data())
def test_joined_text_is_the_parsed_value(data: st.DataObject) -> None:
    whole, answer, others = data.draw(written_arguments())

    for fragments in (data.draw(split_anywhere(whole)), list(whole), [whole]):
        joined, rest = decode(fragments)

        assert joined == well_formed(json.loads(whole, strict=False)["answer"]) == well_formed(answer)
        assert rest == well_formed(others)
        joined.encode()


@given(written_arguments(), st.data())
def test_cut_off_arguments_give_the_beginning_of_the_answer(
    written: tuple[str, str, dict[str, Any]], data: st.DataObject
) -> None:
    whole, answer, _ = written
    cut = whole[: data.draw(st.integers(0, len(whole.rstrip()) - 1))]
    decoder = FinalAnswerDecoder()

    assert well_formed(answer).startswith("".join(decoder.feed(char) for char in cut))
    with pytest.raises(FinalAnswerError):
        decoder.finish()


@given(text | st.text(st.sampled_from('{}[]:,"\\u0dDc8answer \n1')))
@example('{"answer": "1", "answer": "2"}')
@example('{"answer": 1, "answer": "2"}')
@example('{"x": "a" "answer": "b"}')
@example('"answer": "a"')
@example('[{"answer": "a"}]')
@example('{"answer": "\\x"}')
@example('{"answer": "\\u+1a2"}')
@example('{"\\x": 1, "answer": "a"}')
def test_whatever_is_fed_either_parses_or_is_refused(whole: str) -> None:
    try:
        joined, rest = decode(list(whole))
    except FinalAnswerError:
        return

    # Of a key that is given twice, the first counts.
    parsed = json.loads(whole, strict=False, object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    assert joined == well_formed(parsed.pop("answer"))
    assert rest == well_formed(parsed)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("", "not valid JSON"),
        ('{"answer": "a"', "not valid JSON"),
        ('{"answer": "a"} {}', "not valid JSON"),
        ('["answer"]', "not a JSON object"),
        ("{}", 'no string under "answer"'),
        ('{"answer": null}', 'no string under "answer"'),
        ('{"answer": {"answer": "a"}}', 'no string under "answer"'),
        ('{"answer": "a", "x": ' + "[" * 100_000 + "]" * 100_000 + "}", "not valid JSON"),
    ],
)
def test_refusal_says_why(arguments: str, why: str) -> None:
    decoder = FinalAnswerDecoder()
    decoder.feed(arguments)

    with pytest.raises(FinalAnswerError, match=why) as refusal:
        decoder.finish()
    assert isinstance(refusal.value, ValueError)


def test_half_a_pair_waits_for_the_other_half() -> None:
    decoder = FinalAnswerDecoder()

    fed = [decoder.feed(fragment) for fragment in ('{"answer":"\\ud8', "3d\\ude0", "0", "\ud83d", "\ude00", '\\ud83d"')]

    assert fed == ["", "", "😀", "", "😀", "�"]


def count_lines(run: Callable[[], object]) -> int:
    """Count the lines of Python that run: a measure of work that does not depend on the machine."""
    lines = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return lines


@pytest.mark.parametrize(
    "make",
    [
        lambda n: json.dumps({"answer": "word " * n}),
        lambda n: json.dumps({"answer": "😀\n" * n}),
        lambda n: json.dumps({"x" * n: ["y" * n, {"answer": '"' * n}], "answer": "a"}),
        lambda n: json.dumps({**{f"key{i}": i for i in range(n)}, "answer": "a"}),
    ],
    ids=["plain", "escapes", "other strings", "many keys"],
)
@pytest.mark.parametrize("size", [1, 7, 1_000_000])
def test_work_is_linear_in_the_length(make: Callable[[int], str], size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = 0
    loads = json.loads

    def counting(source: str, **kwargs: Any) -> Any:
        nonlocal parsed
        parsed += len(source)
        return loads(source, **kwargs)

    monkeypatch.setattr("graph.final_answer.decoder.json.loads", counting)

    def work(n: int) -> tuple[int, int]:
        nonlocal parsed
        parsed = 0
        whole = make(n)
        fragments = [whole[i : i + size] for i in range(0, len(whole), size)]
        return count_lines(lambda: decode(fragments)), parsed

    (lines, chars), (lines_of_4, chars_of_4) = work(250), work(1000)

    assert lines_of_4 <= 4.4 * lines
    assert chars_of_4 <= 4.4 * chars


# One message


class Scripted(BaseChatModel):
    """Streams the chunks it is given; whole, it gives what they add up to, with arguments parsed strictly."""

    chunks: list[AIMessageChunk]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"script": len(self.chunks)}

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: str | None = None, **kwargs: Any) -> Runnable[Any, Any]:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], tool_choice=tool_choice, **kwargs)

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for chunk in self.chunks:
            yield ChatGenerationChunk(message=chunk.model_copy(deep=True))

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        whole = reduce(merge, self.chunks)
        message = message_chunk_to_message(whole)
        assert isinstance(message, AIMessage)
        message.tool_calls, message.invalid_tool_calls = [], []
        for part in whole.tool_call_chunks:
            name, args, id_ = part["name"] or "", part["args"] or "", part["id"]
            try:
                message.tool_calls.append(tool_call(name=name, args=json.loads(args, strict=False), id=id_))
            except ValueError as error:
                message.invalid_tool_calls.append(invalid_tool_call(name=name, args=args, id=id_, error=str(error)))
        return ChatResult(generations=[ChatGeneration(message=message)])


class AsyncScripted(Scripted):
    """The same, with an asynchronous stream that tells when it is closed."""

    closed: ClassVar[list[bool]] = []

    async def _astream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        try:
            for chunk in self.chunks:
                yield ChatGenerationChunk(message=chunk.model_copy(deep=True))
        finally:
            self.closed.append(True)


class Unstreamed(Scripted):
    """The same, without a stream."""

    _stream = BaseChatModel._stream


def add(x: float, y: float) -> float:
    """Add two numbers."""
    return x + y


def final_answer(answer: str, tools_used: list[str]) -> str:
    """Answer."""
    return answer


def part(args: str | None, name: str | None = None, index: int | None = 0, id_: str | None = None) -> AIMessageChunk:
    return AIMessageChunk("", tool_call_chunks=[tool_call_chunk(name=name, args=args, id=id_, index=index)])


def call(name: str, *args: str, index: int | None = 0) -> list[AIMessageChunk]:
    """A call as OpenAI streams it."""
    return [part("", name, index, f"call_{index}"), *(part(fragment, index=index) for fragment in args)]


def plain(*pieces: str) -> list[AIMessageChunk]:
    return [AIMessageChunk(piece) for piece in pieces]


ANSWER = call(FINAL_ANSWER, '{"ans', 'wer": "10 +', " 10 = 20", '", "tools_used"', ': ["add"]}')
ADD = call("add", '{"x": 1', ', "y": 2}')
ADDED = tool_call(name="add", args={"x": 1, "y": 2}, id="call_0")


def wrapped(chunks: Sequence[AIMessageChunk], model: type[Scripted] = Scripted) -> Runnable[Any, AIMessage]:
    return FinalAnswerModel(inner=model(chunks=list(chunks))).bind_tools([add, final_answer], tool_choice="any")


async def reply(model: Runnable[Any, AIMessage], way: str) -> tuple[list[AIMessage], AIMessage]:
    """Ask in one of the `WAYS`; return the chunks (or the message) and the message that they add up to."""
    match way:
        case "invoke":
            got = [model.invoke("hi")]
        case "ainvoke":
            got = [await model.ainvoke("hi")]
        case "stream":
            got = list(model.stream("hi"))
        case _:
            got = [chunk async for chunk in model.astream("hi")]
    whole = reduce(merge, got)  # type: ignore[arg-type]
    return got, message_chunk_to_message(whole) if isinstance(whole, AIMessageChunk) else whole  # type: ignore[return-value]


def texts(chunks: Sequence[AIMessage]) -> list[str]:
    return [chunk.text for chunk in chunks if chunk.text]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("model", [Scripted, AsyncScripted, Unstreamed])
async def test_answer_is_the_text(way: str, model: type[Scripted]) -> None:
    _, message = await reply(wrapped(ANSWER, model), way)

    assert message.content == "10 + 10 = 20"
    assert message.additional_kwargs == {"final_answer": {"tools_used": ["add"]}}
    assert message.tool_calls == message.invalid_tool_calls == []


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_answer_streams_as_it_comes(way: str) -> None:
    chunks, _ = await reply(wrapped(ANSWER), way)

    assert texts(chunks) == ["10 +", " 10 = 20"]
    assert [chunk.chunk_position for chunk in chunks if isinstance(chunk, AIMessageChunk)][-1] == "last"
    assert all("final_answer" not in chunk.additional_kwargs for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


async def test_each_piece_is_sent_on_before_the_next_is_asked_for() -> None:
    taken = 0

    class Counting(Scripted):
        def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
            nonlocal taken
            for chunk in super()._stream(*args, **kwargs):
                taken += 1
                yield chunk

    sent = [(taken, chunk.text) for chunk in wrapped(ANSWER, Counting).stream("hi") if chunk.text]

    assert sent == [(3, "10 +"), (4, " 10 = 20")]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("chunks", "content", "calls", "answered"),
    [
        ([*ANSWER, *call("add", '{"x": 1}', index=1)], "10 + 10 = 20", [], {"tools_used": ["add"]}),
        ([*plain("I ", "think"), *ANSWER, *plain("!")], "10 + 10 = 20", [], {"tools_used": ["add"]}),
        (call(FINAL_ANSWER, '{"answer": "a"}'), "a", [], {}),
        (call(FINAL_ANSWER, '{"answer": ""}'), "", [], {}),
        ([*ADD, *call(FINAL_ANSWER, '{"answer": "a"}', index=1)], "", [ADDED], None),
        ([*ADD, *call(FINAL_ANSWER, '{"answer": "a', index=1)], "", [ADDED], None),
        ([*plain("Let ", "me"), *ADD], "Let me", [ADDED], None),
        (ADD, "", [ADDED], None),
        (plain("Just ", "text"), "Just text", [], None),
        (call(FINAL_ANSWER, '{"answer": "10 + 1'), "10 + 1", [], {"truncated": True}),
        (call(FINAL_ANSWER, '{"answer": "a\\ud83d'), "a", [], {"truncated": True}),
        (call(FINAL_ANSWER, '{"answer": "a", "tools_used": [}'), "a", [], {"truncated": True}),
        (
            call(FINAL_ANSWER, '{"tools_used": []}'),
            "",
            [],
            {"error": 'the arguments have no string under "answer"'},
        ),
        (
            call(FINAL_ANSWER, '{"answer": 20}'),
            "",
            [],
            {"error": 'the arguments have no string under "answer"'},
        ),
        (
            call(FINAL_ANSWER, "10 + 10"),
            "",
            [],
            {"error": "the arguments are not valid JSON: Extra data: line 1 column 4 (char 3)"},
        ),
        (
            call(FINAL_ANSWER),
            "",
            [],
            {"error": "the arguments are not valid JSON: Expecting value: line 1 column 1 (char 0)"},
        ),
    ],
    ids=[
        "other call after the answer",
        "preamble and afterword",
        "no other arguments",
        "empty answer",
        "answer after another call",
        "broken answer after another call",
        "preamble of another call",
        "another call",
        "no call",
        "cut off",
        "cut off in a pair",
        "invalid after the answer",
        "no answer",
        "answer is no string",
        "not JSON",
        "no arguments",
    ],
)
async def test_rules(
    way: str, chunks: list[AIMessageChunk], content: str, calls: list[Any], answered: dict[str, Any] | None
) -> None:
    got, message = await reply(wrapped(chunks), way)

    assert message.content == content
    assert "".join(texts(got)) == content
    assert message.tool_calls == calls
    assert message.invalid_tool_calls == []
    assert message.additional_kwargs == ({} if answered is None else {"final_answer": answered})


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_plain_text_is_replayed_in_its_pieces(way: str) -> None:
    chunks, _ = await reply(wrapped(plain("Just ", "some ", "text")), way)

    assert texts(chunks) == ["Just ", "some ", "text"]


async def test_preamble_comes_behind_the_chunk_that_begins_the_call() -> None:
    chunks, _ = await reply(wrapped([*plain("Let ", "me"), *ADD, *plain(" see")]), "stream")

    assert [chunk.text or chunk.tool_call_chunks for chunk in chunks if isinstance(chunk, AIMessageChunk)][:3] == [
        ADD[0].tool_call_chunks,
        "Let ",
        "me",
    ]
    assert texts(chunks) == ["Let ", "me", " see"]


async def test_text_is_not_held_where_there_are_no_tools() -> None:
    taken = []

    class Noting(Scripted):
        def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
            for chunk in super()._stream(*args, **kwargs):
                taken.append(chunk.text)
                yield chunk

    model = FinalAnswerModel(inner=Noting(chunks=plain("a", "b", "c")))

    for without_tools in (model, model.bind_tools([])):
        taken.clear()
        assert [(chunk.text, [*taken]) for chunk in without_tools.stream("hi") if chunk.text] == [
            ("a", ["a"]),
            ("b", ["a", "b"]),
            ("c", ["a", "b", "c"]),
        ]


async def test_other_calls_are_untouched() -> None:
    chunks = [*ADD, *call("add", '{"x":', " 3}", index=1)]

    got, _ = await reply(wrapped(chunks), "astream")

    sent = [chunk.tool_call_chunks for chunk in got if isinstance(chunk, AIMessageChunk) and chunk.tool_call_chunks]
    assert sent == [chunk.tool_call_chunks for chunk in chunks]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("chunks", [[*plain("Hm"), *ANSWER], [*plain("Hm"), *ADD], plain("Hm")])
async def test_everything_but_text_and_calls_keeps_flowing(way: str, chunks: list[AIMessageChunk]) -> None:
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    with_more = [
        AIMessageChunk("", id="msg-1", additional_kwargs={"reasoning_content": "let me "}),
        AIMessageChunk("Oh", additional_kwargs={"reasoning_content": "think"}, response_metadata={"region": "eu"}),
        *chunks,
        AIMessageChunk("", response_metadata={"finish_reason": "stop"}),
        AIMessageChunk("", usage_metadata=usage, chunk_position="last"),  # type: ignore[arg-type]
    ]

    got, message = await reply(wrapped(with_more), way)

    assert message.id == "msg-1"
    assert message.usage_metadata == usage
    assert message.additional_kwargs["reasoning_content"] == "let me think"
    assert message.response_metadata.items() >= {"finish_reason": "stop", "region": "eu"}.items()
    if way in ("stream", "astream"):
        assert got[0].additional_kwargs == {"reasoning_content": "let me "}
        assert [chunk.chunk_position for chunk in got if isinstance(chunk, AIMessageChunk)].count("last") == 1


async def test_what_follows_the_last_chunk_is_not_lost() -> None:
    chunks = [*ANSWER, AIMessageChunk("", chunk_position="last"), AIMessageChunk("", response_metadata={"late": True})]

    got, message = await reply(wrapped(chunks), "stream")

    assert message.response_metadata == {"late": True}
    assert [chunk.chunk_position for chunk in got if isinstance(chunk, AIMessageChunk)].count("last") == 1


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_dropped_fragments_leave_no_empty_chunks(way: str) -> None:
    others = call("add", *('{"x": 1}' * 10), index=1)

    got, _ = await reply(wrapped([*ANSWER, *others]), way)

    assert [chunk.text for chunk in got] == ["10 +", " 10 = 20", ""]


# How servers number and name the fragments of calls


@pytest.mark.parametrize(
    "chunks",
    [
        [part("", FINAL_ANSWER, id_="a"), part('{"answer": ', ""), part('"yes"}', "")],
        [part("", FINAL_ANSWER, id_="a"), part('{"answer": ', FINAL_ANSWER, id_="a"), part('"yes"}', FINAL_ANSWER)],
        [part("", FINAL_ANSWER, id_="a"), part('{"answer": ', id_="b"), part('"yes"}', id_="c")],
        [part(None, FINAL_ANSWER, None, "a"), part('{"answer": ', None, None, "a"), part('"yes"}', "", None)],
        [part("{", None, id_="a"), part('"answer": ', FINAL_ANSWER), part('"yes"}', None)],
        [part('{"answer": "yes"}', FINAL_ANSWER, None)],
        [*call(FINAL_ANSWER, '{"answer": "yes"}'), part("", "add", 0, "b"), part("{}", None)],
        [*call(FINAL_ANSWER, '{"answer": ', index=3), *call("add", "{}", index=4), part('"yes"}', index=3)],
        [*call(FINAL_ANSWER, '{"answer": "yes"}'), *call(FINAL_ANSWER, '{"answer": "no"}', index=1)],
        [AIMessageChunk("", tool_calls=[tool_call(name=FINAL_ANSWER, args={"answer": "yes"}, id="a")])],
    ],
    ids=[
        "empty names",
        "name repeated",
        "an id for every fragment",
        "no index",
        "name comes late",
        "neither index nor id",
        "every call has index 0",
        "interleaved",
        "answered twice",
        "call is whole",
    ],
)
async def test_numbering_of_servers(chunks: list[AIMessageChunk]) -> None:
    _, message = await reply(wrapped(chunks), "stream")

    assert message.content == "yes"
    assert message.additional_kwargs == {"final_answer": {}}
    assert message.tool_calls == []


async def test_name_of_another_call_comes_late() -> None:
    _, message = await reply(wrapped([part("{", None, id_="a"), part('"x": 1}', "add")]), "stream")

    assert message.tool_calls == [tool_call(name="add", args={"x": 1}, id="a")]


async def test_name_that_never_comes_leaves_an_ordinary_call() -> None:
    _, message = await reply(wrapped([*plain("Hm"), part('{"x": 1}', None, id_="a")]), "stream")

    assert message.content == "Hm"
    assert message.tool_calls == [tool_call(name="", args={"x": 1}, id="a")]
    assert message.additional_kwargs == {}


# Content in blocks


def blocks(*content: dict[str, Any], parts: Sequence[Any] = ()) -> AIMessageChunk:
    return AIMessageChunk([*content], tool_call_chunks=[*parts])


REASONING = blocks({"type": "reasoning", "summary": [], "id": "rs_1", "index": 0})
PREAMBLE = blocks({"type": "text", "text": "Hm", "index": 1})
END = AIMessageChunk([], chunk_position="last")


def block_call(name: str, *args: str, index: int) -> list[AIMessageChunk]:
    """A call as OpenAI's Responses API streams it."""
    id_ = f"call_{index}"
    begin = {"type": "function_call", "name": name, "arguments": "", "call_id": id_, "id": "fc", "index": index}
    return [
        blocks(begin, parts=[tool_call_chunk(name=name, args="", id=id_, index=index)]),
        *(
            blocks(
                {"type": "function_call", "arguments": fragment, "index": index},
                parts=[tool_call_chunk(args=fragment, index=index)],
            )
            for fragment in args
        ),
    ]


def without_index(message: AIMessage) -> list[Any]:
    return [
        {key: value for key, value in block.items() if key != "index"}
        for block in message.content
        if isinstance(block, dict)
    ]


REASONED = {"type": "reasoning", "summary": [], "id": "rs_1"}
ADD_BLOCK = {"type": "function_call", "name": "add", "arguments": '{"x": 1}', "call_id": "call_2", "id": "fc"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("chunks", "content", "names"),
    [
        (
            [
                REASONING,
                PREAMBLE,
                *block_call(FINAL_ANSWER, '{"answer": "10', " + ", '10"}', index=2),
                *block_call("add", '{"x": 1}', index=3),
                END,
            ],
            [REASONED, {"type": "text", "text": "10 + 10"}],
            [],
        ),
        (
            [
                REASONING,
                PREAMBLE,
                *block_call("add", '{"x": 1}', index=2),
                *block_call(FINAL_ANSWER, '{"answer": "10"}', index=3),
                END,
            ],
            [REASONED, {"type": "text", "text": "Hm"}, ADD_BLOCK],
            ["add"],
        ),
        ([REASONING, PREAMBLE, END], [REASONED, {"type": "text", "text": "Hm"}], []),
    ],
    ids=["answer first", "answer second", "no call"],
)
async def test_content_in_blocks(way: str, chunks: list[AIMessageChunk], content: list[Any], names: list[str]) -> None:
    _, message = await reply(wrapped(chunks), way)

    assert without_index(message) == content
    assert [call["name"] for call in message.tool_calls] == names


async def test_blocks_without_index_become_one_text() -> None:
    fragments = ['{"answer": "a', 'b"}']
    chunks = [blocks(parts=[tool_call_chunk(name=FINAL_ANSWER, args=args, id="a")]) for args in fragments]

    _, message = await reply(wrapped(chunks), "stream")

    assert without_index(message) == [{"type": "text", "text": "ab"}]


# Streamed and whole are the same

words = st.text(st.sampled_from('ab "\\\n😀'), max_size=6)
answers = st.builds(
    lambda answer, others: json.dumps({**others, "answer": answer}),
    words,
    st.dictionaries(words, words | st.lists(words), max_size=2),
)


@st.composite
def replies(draw: st.DrawFn) -> list[AIMessageChunk]:
    """A message of text and calls in any order; broken arguments only in a call of its own."""
    if draw(st.booleans()):
        whole = draw(answers)
        cut = whole[: draw(st.integers(0, len(whole)))] + draw(st.sampled_from(["", "x", "}"]))
        return [*plain(*draw(st.lists(words))), *call(FINAL_ANSWER, *draw(split_anywhere(cut)))]
    chunks: list[AIMessageChunk] = plain("")
    for index in range(draw(st.integers(0, 4))):
        chunks += plain(*draw(st.lists(words, max_size=3)))
        name = draw(st.sampled_from(["add", FINAL_ANSWER]))
        chunks += call(name, *draw(split_anywhere(draw(answers))), index=index)
    return [*chunks, *plain(*draw(st.lists(words, max_size=3)))]


@given(replies())
def test_streamed_reply_equals_the_whole_one(chunks: list[AIMessageChunk]) -> None:
    model = wrapped(chunks)

    whole = model.invoke("hi")
    streamed = message_chunk_to_message(reduce(merge, model.stream("hi")))

    assert isinstance(streamed, AIMessage)
    assert streamed.content == whole.content
    assert streamed.tool_calls == whole.tool_calls
    assert streamed.invalid_tool_calls == whole.invalid_tool_calls == []
    assert streamed.additional_kwargs == whole.additional_kwargs


# The model around another


class Noting(BaseCallbackHandler):
    """Notes what the callbacks of a model call get."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.params: list[dict[str, Any]] = []
        self.metadata: list[dict[str, Any]] = []
        self.tags: list[list[str]] = []
        self.tokens: list[str] = []
        self.pieces: list[str] = []

    def on_chat_model_start(self, serialized: dict[str, Any], messages: Any, **kwargs: Any) -> None:
        self.names.append(serialized["id"][-1])
        self.params.append(kwargs["invocation_params"])
        self.metadata.append(kwargs["metadata"])
        self.tags.append(kwargs["tags"])

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, **kwargs: Any) -> None:
        self.tokens.append(token)
        self.pieces.append(chunk.text)
        assert not chunk.message.tool_call_chunks


class State(TypedDict):
    messages: Annotated[list[BaseMessage], add_messages]


def graph_of(model: Runnable[Any, AIMessage]) -> Runnable[Any, Any]:
    async def agent(state: State) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return StateGraph(State).add_node("agent", agent).add_edge(START, "agent").compile()


@pytest.mark.parametrize("model", [Scripted, AsyncScripted, Unstreamed])
async def test_events_v2_show_text(model: type[Scripted]) -> None:
    graph = graph_of(wrapped(ANSWER, model))

    events = [event async for event in graph.astream_events({"messages": [("user", "hi")]}, version="v2")]

    chunks = [event["data"]["chunk"] for event in events if event["event"] == "on_chat_model_stream"]
    assert "".join(chunk.content for chunk in chunks) == "10 + 10 = 20"
    assert all(not chunk.tool_call_chunks for chunk in chunks)
    assert {event["name"] for event in events if event["event"].startswith("on_chat_model")} == {model.__name__}
    assert '"tools_used"' not in str([event["data"] for event in events if event["event"] == "on_chat_model_stream"])


@pytest.mark.filterwarnings("ignore:The v3 streaming protocol")
@pytest.mark.parametrize("model", [Scripted, AsyncScripted, Unstreamed])
async def test_events_v3_show_text(model: type[Scripted]) -> None:
    noting = Noting()
    graph = graph_of(wrapped([*plain("Hm"), *ANSWER], model))

    run = await graph.astream_events({"messages": [("user", "hi")]}, {"callbacks": [noting]}, version="v3")
    events = [event["params"]["data"][0] async for event in run if event["method"] == "messages"]
    message = (await run.output())["messages"][-1]

    deltas = [event["delta"] for event in events if event["event"] == "content-block-delta"]
    assert {delta["type"] for delta in deltas} == {"text-delta"}
    assert "".join(delta["text"] for delta in deltas) == "10 + 10 = 20"
    assert [event["event"] for event in events].count("message-finish") == 1
    assert message.text == "10 + 10 = 20"
    assert message.additional_kwargs == {"final_answer": {"tools_used": ["add"]}}
    assert message.tool_calls == []
    assert "".join(noting.pieces) == "10 + 10 = 20"


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_callbacks_get_text(way: str) -> None:
    noting = Noting()

    await reply(wrapped(ANSWER).with_config(callbacks=[noting]), way)

    assert "".join(noting.tokens) == "10 + 10 = 20"


async def test_traces_show_the_inner_model() -> None:
    noting = Noting()
    inner = Scripted(chunks=ANSWER, tags=["a tag"], metadata={"key": "value"}, callbacks=[noting])

    await FinalAnswerModel(inner=inner).bind_tools([final_answer]).ainvoke("hi")

    assert noting.names == ["Scripted"]
    assert noting.tags == [["a tag"]]
    assert noting.params[0].items() >= {"_type": "scripted", "script": len(ANSWER)}.items()
    assert noting.metadata[0].items() >= {"key": "value", "ls_provider": "scripted"}.items()


def test_token_counts_are_the_inner_models() -> None:
    model = FinalAnswerModel(inner=Scripted(chunks=[], custom_get_token_ids=lambda text: [7] * len(text)))

    assert model.get_token_ids("four") == [7, 7, 7, 7]
    assert model.get_num_tokens_from_messages([AIMessage("four")]) == len("AI: four")


def test_what_the_inner_model_cached_is_not_taken_for_text() -> None:
    inner = Scripted(chunks=ANSWER, cache=InMemoryCache())
    tools = [convert_to_openai_tool(final_answer)]
    inner.invoke("hi", tools=tools, tool_choice="any")

    model = FinalAnswerModel(inner=inner).bind_tools([final_answer], tool_choice="any")
    first = model.invoke("hi")
    inner.chunks = plain(*["no"] * len(ANSWER))

    assert first.text == "10 + 10 = 20"
    assert model.invoke("hi").text == "10 + 10 = 20"


def test_bypassed_streaming_stays_bypassed() -> None:
    model = FinalAnswerModel(inner=Scripted(chunks=ANSWER, disable_streaming="tool_calling"))

    assert texts(list(model.bind_tools([final_answer]).stream("hi"))) == ["10 + 10 = 20"]
    assert texts(list(model.stream("hi"))) == ["10 +", " 10 = 20"]


@pytest.mark.parametrize(("streaming", "pieces"), [(True, ["10 +", " 10 = 20"]), (False, []), (None, [])])
def test_streaming_set_on_the_inner_model_counts(streaming: bool | None, pieces: list[str]) -> None:
    class Streaming(Scripted):
        streaming: bool = False

    noting = Noting()
    inner = Streaming(chunks=ANSWER, **({} if streaming is None else {"streaming": streaming}))

    message = FinalAnswerModel(inner=inner).bind_tools([final_answer]).invoke("hi", {"callbacks": [noting]})

    assert message.text == "10 + 10 = 20"
    assert [piece for piece in noting.pieces if piece] == pieces


def test_tools_may_be_bound_by_a_new_model() -> None:
    class Rebuilt(Scripted):
        def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, Any]:
            return self.model_copy(update={"chunks": [*plain("Hm"), *ANSWER]}).with_config(tags=["bound"])

    noting = Noting()
    model = FinalAnswerModel(inner=Rebuilt(chunks=[])).bind_tools([final_answer])

    assert texts(list(model.stream("hi", {"callbacks": [noting]}))) == ["10 +", " 10 = 20"]
    assert noting.tags == [["bound"]]


def test_tools_bound_by_what_is_no_model_are_refused() -> None:
    class Piped(Scripted):
        def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, Any]:
            return self | RunnableLambda(lambda message: message)

    with pytest.raises(TypeError, match="RunnableSequence"):
        FinalAnswerModel(inner=Piped(chunks=[])).bind_tools([final_answer])


def test_structured_output_is_the_inner_models() -> None:
    model = FinalAnswerModel(inner=Scripted(chunks=call("Sum", '{"x": 1}')))

    assert model.with_structured_output({"title": "Sum", "type": "object", "properties": {}}).invoke("hi") == {"x": 1}


async def test_inner_stream_is_closed_with_the_outer() -> None:
    AsyncScripted.closed.clear()
    model = FinalAnswerModel(inner=AsyncScripted(chunks=ANSWER))

    stream = model._astream([AIMessage("hi")])
    await anext(stream)
    assert AsyncScripted.closed == []
    await stream.aclose()

    assert AsyncScripted.closed == [True]


async def test_failure_of_the_inner_model_passes() -> None:
    class Failing(Scripted):
        def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
            yield from super()._stream(*args, **kwargs)
            raise ConnectionError("cut")

    stream = wrapped(ANSWER[:3], Failing).astream("hi")

    assert (await anext(stream)).text == "10 +"
    with pytest.raises(ConnectionError, match="cut"):
        await anext(stream)
