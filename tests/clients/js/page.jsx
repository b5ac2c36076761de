// A chat page as Agent Chat UI is one: the thread in the URL, history, edits, branches, and a stream that is rejoined.
// Query: api, assistant, and threadId once there is a thread.

import { useStream } from "@langchain/langgraph-sdk/react";
import { createRoot } from "react-dom/client";
import { useState } from "react";

const query = new URLSearchParams(location.search);

// Agent Chat UI gives these with every submit.
const OPTIONS = { streamMode: ["values"], streamSubgraphs: true, streamResumable: true };

function remember(threadId) {
  query.set("threadId", threadId);
  history.replaceState(null, "", `?${query}`);
}

const text = ({ content }) =>
  typeof content === "string" ? content : content.map((part) => part.text ?? "").join("");

function Message({ message, chat, write }) {
  const metadata = chat.getMessagesMetadata(message);
  const checkpoint = metadata?.firstSeenState?.parent_checkpoint;
  const { branch, branchOptions } = metadata ?? {};
  const place = branchOptions?.indexOf(branch);
  const again = () => chat.submit(undefined, { ...OPTIONS, checkpoint });
  const edit = () => chat.submit({ messages: [{ type: "human", content: write }] }, { ...OPTIONS, checkpoint });
  return (
    <li data-id={message.id} data-type={message.type} data-forkable={checkpoint ? "yes" : "no"}>
      <span>{text(message)}</span>
      {(message.tool_calls ?? []).map((call) => (
        <code key={call.id}>{call.name}</code>
      ))}
      {branchOptions && <i>{`${place + 1} of ${branchOptions.length}`}</i>}
      {place > 0 && <button type="button" onClick={() => chat.setBranch(branchOptions[place - 1])}>earlier branch</button>}
      {message.type === "human" && <button type="button" onClick={edit}>edit</button>}
      {message.type === "ai" && <button type="button" onClick={again}>regenerate</button>}
    </li>
  );
}

function Chat() {
  const [threadId, setThreadId] = useState(query.get("threadId"));
  const [write, setWrite] = useState("");
  const chat = useStream({
    apiUrl: query.get("api"),
    assistantId: query.get("assistant"),
    messagesKey: "messages",
    reconnectOnMount: true,
    fetchStateHistory: true,
    threadId,
    onThreadId: (id) => {
      setThreadId(id);
      remember(id);
    },
  });
  const send = (event) => {
    event.preventDefault();
    const input = query.get("assistant") === "hitl" ? { topic: write } : undefined;
    const message = { id: crypto.randomUUID(), type: "human", content: write };
    chat.submit(input ?? { messages: [message] }, {
      ...OPTIONS,
      optimisticValues: (values) => ({ ...values, messages: [...(values.messages ?? []), message] }),
    });
  };
  return (
    <form onSubmit={send} data-loading={chat.isLoading ? "yes" : "no"}>
      <ol>
        {chat.messages.map((message, index) => (
          <Message key={message.id ?? index} message={message} chat={chat} write={write} />
        ))}
      </ol>
      <output id="values">{JSON.stringify(chat.values)}</output>
      <output id="interrupt">{chat.interrupt && JSON.stringify(chat.interrupt.value)}</output>
      <output id="error">{chat.error && String(chat.error)}</output>
      <input name="write" value={write} onChange={(event) => setWrite(event.target.value)} />
      <button>send</button>
      <button type="button" onClick={() => chat.stop()}>
        stop
      </button>
      <button type="button" onClick={() => chat.submit(undefined, { ...OPTIONS, command: { resume: write } })}>
        resume
      </button>
    </form>
  );
}

// The texts that the last answer went through, which is how a reader saw it come.
window.seen = [];
new MutationObserver(() => {
  const shown = document.querySelector("li[data-type=ai]:last-child span")?.textContent;
  if (shown && shown !== window.seen.at(-1)) window.seen.push(shown);
}).observe(document.body, { childList: true, subtree: true, characterData: true });

createRoot(document.getElementById("root")).render(<Chat />);
