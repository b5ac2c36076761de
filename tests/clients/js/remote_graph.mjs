// Drives a server with the RemoteGraph of @langchain/langgraph: one line of JSON for each thing that a graph does.
// Usage: node remote_graph.mjs URL

import { Annotation, Command, MemorySaver, START, StateGraph } from "@langchain/langgraph";
import { RemoteGraph } from "@langchain/langgraph/remote";

const url = process.argv[2];
const remote = (graphId) => new RemoteGraph({ graphId, url });
const fresh = () => ({ configurable: { thread_id: crypto.randomUUID() } });
const say = (step, result) => console.log(JSON.stringify({ step, ...result }));

async function all(parts) {
  const seen = [];
  for await (const part of parts) seen.push(part);
  return seen;
}

async function invokes() {
  const alone = await remote("steps").invoke({ number: 1 });
  const config = fresh();
  await remote("chat").invoke({ messages: [{ type: "human", content: "one" }] }, config);
  const second = await remote("chat").invoke({ messages: [{ type: "human", content: "two" }] }, config);
  const failure = await remote("failing").invoke({ how: "builtin" }).catch((error) => String(error));
  say("invoke", { alone, second: second.messages.map(({ content }) => content), failure });
}

async function streams() {
  const updates = await all(await remote("steps").stream({ number: 1 }, { streamMode: "updates" }));
  const together = await all(await remote("steps").stream({ number: 1 }, { streamMode: ["values", "updates"] }));
  const nested = await all(
    await remote("nested").stream(
      { messages: [{ type: "human", content: "hi" }] },
      { streamMode: "updates", subgraphs: true },
    ),
  );
  const messages = await all(
    await remote("chat").stream({ messages: [{ type: "human", content: "hi" }] }, { streamMode: "messages" }),
  );
  say("stream", {
    updates,
    together: together.map(([mode]) => mode),
    namespaces: nested.map(([namespace]) => namespace.map((part) => part.replace(/:.*/, ""))),
    text: messages.map(([message]) => message.content).join(""),
  });
}

async function states() {
  const graph = remote("steps");
  const config = fresh();
  await graph.invoke({ number: 1 }, config);
  const { values, next } = await graph.getState(config);
  const history = await all(graph.getStateHistory(config, { limit: 10 }));
  const forked = await graph.updateState(history[1].config, { number: 70 });
  const fork = await graph.invoke(null, forked);
  say("state", { values, next, history: history.map((state) => state.next), fork: fork.number });
}

async function interrupts() {
  const graph = remote("hitl");
  const config = fresh();
  // It raises the interrupt, so that a graph around it stops too.
  const raised = await graph.invoke({ topic: "cats" }, config).catch(({ interrupts }) => interrupts[0].value.question);
  const { tasks, next } = await graph.getState(config);
  const values = await graph.invoke(new Command({ resume: "Better" }), config);
  say("interrupt", { raised, question: tasks[0].interrupts[0].value.question, next, values });
}

async function drawings() {
  const drawn = await remote("nested").getGraphAsync({ xray: true });
  say("graph", { nodes: Object.keys(drawn.nodes).sort() });
}

async function nodes() {
  const State = Annotation.Root({
    number: Annotation(),
    trail: Annotation({ reducer: (left, right) => left.concat(right), default: () => [] }),
  });
  const graph = new StateGraph(State)
    .addNode("remote", remote("steps"))
    .addEdge(START, "remote")
    .compile({ checkpointer: new MemorySaver() });
  say("node", await graph.invoke({ number: 1 }, fresh()));
}

await Promise.all([invokes(), streams(), states(), interrupts(), drawings(), nodes()]);
