// Drives a server with the JS SDK: one line of JSON for each thing that a client does.
// Usage: node client.mjs URL

import { Client } from "@langchain/langgraph-sdk";
import { Proxy } from "./proxy.mjs";

const client = new Client({ apiUrl: process.argv[2], apiKey: null });

const say = (step, result) => console.log(JSON.stringify({ step, ...result }));

async function all(parts) {
  const seen = [];
  for await (const part of parts) seen.push(part);
  return seen;
}

const human = (content) => ({ messages: [{ type: "human", content }] });

async function threads() {
  const metadata = { mark: crypto.randomUUID() };
  const { thread_id } = await client.threads.create({ metadata });
  const found = await client.threads.search({ metadata });
  await client.threads.update(thread_id, { metadata: { more: 1 } });
  const thread = await client.threads.get(thread_id);
  await client.threads.delete(thread_id);
  const missing = await client.threads.get(thread_id).catch((error) => error.status);
  say("threads", { found: found.length, more: thread.metadata.more, status: thread.status, missing });
}

async function streams() {
  const { thread_id } = await client.threads.create();
  let created;
  const parts = await all(
    client.runs.stream(thread_id, "chat", {
      input: human("hi"),
      streamMode: ["messages-tuple", "values", "updates"],
      onRunCreated: (run) => (created = run),
    }),
  );
  const text = parts.filter(({ event }) => event === "messages").map(({ data }) => data[0].content).join("");
  const [run] = await client.runs.list(thread_id);
  say("stream", {
    text,
    events: [...new Set(parts.map(({ event }) => event))],
    created: created.run_id === run.run_id && created.thread_id === thread_id,
    status: run.status,
  });

  const nested = await all(
    client.runs.stream(null, "nested", { input: human("hi"), streamMode: "updates", streamSubgraphs: true }),
  );
  say("subgraphs", { events: nested.map(({ event }) => event.replace(/:.*/, "")) });
}

async function joins() {
  const { thread_id } = await client.threads.create();
  const run = await client.runs.create(thread_id, "steps", {
    input: { number: 1 },
    streamMode: ["updates"],
    streamResumable: true,
  });
  const values = await client.runs.join(thread_id, run.run_id);
  const parts = await all(client.runs.joinStream(thread_id, run.run_id, { lastEventId: "-1" }));
  const rest = await all(client.runs.joinStream(thread_id, run.run_id, { lastEventId: parts.at(-2).id }));
  say("join", { values, replayed: parts.map(({ event }) => event), rest: rest.map(({ data }) => data) });
}

async function cancels() {
  const { thread_id } = await client.threads.create();
  const parts = client.runs.stream(thread_id, "gate", {
    input: { hold: thread_id },
    streamMode: ["custom", "values"],
    onDisconnect: "continue",
  });
  let run_id;
  for await (const { event, data } of parts) {
    if (event === "metadata") run_id = data.run_id;
    if (event === "custom") await client.runs.cancel(thread_id, run_id, true);
  }
  const run = await client.runs.get(thread_id, run_id);
  say("cancel", { status: run.status });
}

async function interrupts() {
  const { thread_id } = await client.threads.create();
  const parts = await all(client.runs.stream(thread_id, "hitl", { input: { topic: "cats" }, streamMode: "values" }));
  const question = parts.at(-1).data.__interrupt__[0].value.question;
  const state = await client.threads.getState(thread_id);
  const waiting = (await client.threads.get(thread_id)).status;
  const values = await client.runs.wait(thread_id, "hitl", { command: { resume: "Better" } });
  say("interrupt", { question, next: state.next, waiting, values });
}

async function edits() {
  const { thread_id } = await client.threads.create();
  await client.runs.wait(thread_id, "steps", { input: { number: 1 } });
  const history = await client.threads.getHistory(thread_id, { limit: 10 });
  const { checkpoint } = history[1];
  const { configurable } = await client.threads.updateState(thread_id, {
    values: { number: 70 },
    checkpointId: checkpoint.checkpoint_id,
  });
  const fork = await client.runs.wait(thread_id, "steps", {
    input: null,
    checkpoint: { ...checkpoint, checkpoint_id: configurable.checkpoint_id },
  });
  say("edit", { next: history.map(({ next }) => next), number: fork.number });
}

async function failures() {
  const parts = await all(client.runs.stream(null, "failing", { input: { how: "builtin" } }));
  const unknown = await client.runs.wait(null, "nonsense", { input: {} }).catch((error) => error.status);
  say("failure", { last: parts.at(-1), unknown });
}

async function records() {
  const namespace = [crypto.randomUUID()];
  await client.store.putItem(namespace, "one", { text: "hi" });
  const item = await client.store.getItem(namespace, "one");
  const metadata = { mark: crypto.randomUUID() };
  const assistant = await client.assistants.create({ graphId: "chat", metadata, context: { greeting: "Hi" } });
  const found = await client.assistants.search({ metadata });
  const values = await client.runs.wait(null, assistant.assistant_id, { input: human("hi") });
  await client.assistants.delete(assistant.assistant_id);
  say("records", { item: item.value, found: found.length, said: values.messages.at(-1).content });
}

async function pages() {
  const metadata = { mark: crypto.randomUUID() };
  for (const name of ["one", "two", "three"]) await client.assistants.create({ graphId: "chat", metadata, name });
  const options = { metadata, limit: 2, sortBy: "created_at", sortOrder: "asc", includePagination: true };
  const search = (offset) => client.assistants.search({ ...options, offset });
  const first = await search(0);
  const second = await search(Number(first.next));
  const names = ({ assistants }) => assistants.map(({ name }) => name);
  say("pages", { first: names(first), second: names(second), end: second.next });
}

async function cuts() {
  const proxy = await Proxy.to(process.argv[2]);
  const through = new Client({ apiUrl: proxy.url, apiKey: null });
  const { thread_id } = await client.threads.create();
  const parts = through.runs.stream(thread_id, "gate", {
    input: { hold: thread_id },
    streamMode: ["custom", "updates"],
    streamResumable: true,
    onDisconnect: "continue",
  });
  const seen = [];
  for await (const { id, event } of parts) {
    seen.push([Number(id), event]);
    if (event !== "custom") continue;
    proxy.cut();
    await client.runs.wait(null, "gate", { input: { open: thread_id } });
  }
  proxy.close();
  const [run] = await client.runs.list(thread_id);
  const replayed = await all(client.runs.joinStream(thread_id, run.run_id, { lastEventId: "-1" }));
  const same = `${seen}` === `${replayed.map(({ id, event }) => [id, event])}`;
  say("cut", { seen: seen.map(([, event]) => event), same });
}

await Promise.all([pages(), cuts(), threads(), streams(), joins(), cancels(), interrupts(), edits(), failures(), records()]);
