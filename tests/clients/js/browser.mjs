// Drives page.jsx in Chromium, from an origin of its own, through a proxy that can cut the network.
// Usage: node browser.mjs CHROMIUM URL SDK; prints one line of JSON for each scenario. SDK is the package that the page
// is built with: a version of @langchain/langgraph-sdk under its alias in package.json.

import { build } from "esbuild";
import { createServer } from "node:http";
import { chromium } from "playwright-core";
import { listening, Proxy } from "./proxy.mjs";

const [executablePath, url, sdk] = process.argv.slice(2);
const api = new URL(url);

const FLAGS = [
  "no-sandbox",
  "disable-gpu",
  "disable-quic",
  "no-first-run",
  "disable-background-networking",
  "disable-component-update",
  "disable-sync",
];

async function bundle() {
  const { outputFiles } = await build({
    entryPoints: ["page.jsx"],
    bundle: true,
    write: false,
    jsx: "automatic",
    format: "esm",
    define: { "process.env.NODE_ENV": '"production"' },
    alias: { "@langchain/langgraph-sdk": sdk },
    logLevel: "error",
  });
  return outputFiles[0].contents;
}

async function pages() {
  const script = await bundle();
  return createServer((request, response) => {
    if (request.url.startsWith("/page.js")) {
      return response.setHeader("content-type", "text/javascript").end(script);
    }
    response.setHeader("content-type", "text/html");
    response.end('<!doctype html><div id="root"></div><script type="module" src="/page.js"></script>');
  });
}

async function call(path, body) {
  const method = body === undefined ? "GET" : "POST";
  const response = await fetch(new URL(path, api), { method, body: JSON.stringify(body) });
  return response.json();
}

const human = (content) => ({ messages: [{ type: "human", content }] });
const openGate = (name) => call("/runs/wait", { assistant_id: "held", input: human(`open ${name}`) });

class Visitor {
  constructor(page) {
    this.page = page;
  }

  get last() {
    return this.page.locator("li").last();
  }

  async come(pageUrl, assistant, through) {
    await this.page.goto(`${pageUrl}/?${new URLSearchParams({ api: through, assistant })}`);
  }

  async write(text, button = "send") {
    await this.page.locator("input[name=write]").fill(text);
    await this.page.getByRole("button", { name: button, exact: true }).last().click();
  }

  threadId() {
    return new URL(this.page.url()).searchParams.get("threadId");
  }

  async sees(text, selector = "li:last-child span") {
    await this.page.locator(selector).filter({ hasText: text }).waitFor();
  }

  async rests() {
    await this.page.locator("form[data-loading=no]").waitFor();
  }

  shown() {
    const read = (items) =>
      items.map((item) => [item.dataset.id, item.dataset.type, item.querySelector("span").textContent]);
    return this.page.locator("li").evaluateAll(read);
  }

  text(selector) {
    return this.page.locator(selector).textContent();
  }

  // What is shown, in words, and whether that is exactly what the server has.
  async account() {
    const shown = await this.shown();
    const { values } = await call(`/threads/${this.threadId()}/state`);
    const kept = values.messages.map(({ id, type, content }) => [id, type, content]);
    return {
      texts: shown.map(([, , text]) => text),
      same: JSON.stringify(shown) === JSON.stringify(kept),
      error: await this.text("#error"),
    };
  }
}

const SCENARIOS = {
  async ask(visitor, { come }) {
    await come("agent");
    await visitor.write("What is (3 + 4) * 5 ** 2?");
    await visitor.sees("seventy-five");
    await visitor.rests();
    const seen = await visitor.page.evaluate(() => window.seen);
    const tools = await visitor.page.locator("code").allTextContents();
    const growing = seen.filter((text) => seen.at(-1).startsWith(text)).length;
    const { values } = await call(`/threads/${visitor.threadId()}/state`);
    const { texts, ...account } = await visitor.account();
    return { ...account, final: texts.at(-1) === values.final_answer.answer, streamed: growing > 1, tools };
  },

  async turns(visitor, { come }) {
    await come("held");
    await visitor.write("one");
    await visitor.sees("Turn 1: the first half, and then the second half of it.");
    await visitor.rests();
    await visitor.write("two");
    await visitor.sees("Turn 2: the first half, and then the second half of it.");
    await visitor.rests();
    return visitor.account();
  },

  async reload(visitor, { come, name }) {
    await come("held");
    await visitor.write("first");
    await visitor.sees("second half of it.");
    await visitor.rests();
    await visitor.write(`hold ${name}`);
    await visitor.sees(/^Turn 2: the first half, and $/);
    const rejoining = visitor.page.waitForRequest((request) => request.url().includes("/stream?"));
    await visitor.page.reload();
    const cursor = (await rejoining).headers()["last-event-id"];
    await visitor.sees(/^Turn 2: the first half, and $/);
    await openGate(name);
    await visitor.sees("second half of it.");
    await visitor.rests();
    const [run, ...others] = await call(`/threads/${visitor.threadId()}/runs`);
    return { ...(await visitor.account()), cursor, status: run.status, runs: 1 + others.length };
  },

  async cut(visitor, { come, name, cut }) {
    await come("held");
    await visitor.write(`hold ${name}`);
    await visitor.sees(/^Turn 1: the first half, and $/);
    const rejoining = visitor.page.waitForRequest((request) => /runs\/[^/]+\/stream$/.test(request.url()));
    cut();
    const cursor = (await rejoining).headers()["last-event-id"];
    await openGate(name);
    await visitor.sees("second half of it.");
    await visitor.rests();
    return { ...(await visitor.account()), fromCursor: Number(cursor) > 0 };
  },

  async stop(visitor, { come, name }) {
    await come("held");
    await visitor.write(`hold ${name}`);
    await visitor.sees(/^Turn 1: the first half, and $/);
    const cancelled = visitor.page.waitForResponse((response) => response.url().includes("/cancel?"));
    await visitor.page.getByRole("button", { name: "stop" }).click();
    const path = new URL((await cancelled).url()).pathname.replace("/cancel", "");
    await visitor.rests();
    await call(`${path}/join`);
    const { status } = await call(path);
    await visitor.write("go on");
    await visitor.sees(/^Turn 2: .* second half of it\.$/);
    await visitor.rests();
    return { ...(await visitor.account()), status };
  },

  async interrupt(visitor, { come }) {
    await come("hitl");
    await visitor.write("cats");
    await visitor.sees("Publish?", "#interrupt");
    await visitor.page.reload();
    await visitor.sees("Publish?", "#interrupt");
    await visitor.rests();
    await visitor.write("Better", "resume");
    await visitor.sees("published", "#values");
    await visitor.rests();
    const { values } = await call(`/threads/${visitor.threadId()}/state`);
    const shown = JSON.parse(await visitor.text("#values"));
    const same = JSON.stringify(values) === JSON.stringify(shown);
    return { values: shown, same, interrupt: await visitor.text("#interrupt") };
  },

  async branches(visitor, { come }) {
    await come("manners");
    await visitor.write("one");
    await visitor.sees("Hello, turn 1: one");
    await visitor.rests();
    await visitor.page.locator("li[data-forkable=yes]").nth(1).waitFor();
    await visitor.page.locator("input[name=write]").fill("uno");
    await visitor.page.locator("li[data-type=human] >> text=edit").click();
    await visitor.sees("Hello, turn 1: uno");
    await visitor.rests();
    await visitor.sees("2 of 2", "li[data-type=human] i");
    const edited = await visitor.account();
    await visitor.page.getByRole("button", { name: "regenerate" }).click();
    await visitor.sees("2 of 2", "li[data-type=ai] i");
    await visitor.rests();
    const regenerated = await visitor.account();
    await visitor.page.locator("li[data-type=human] >> text=earlier branch").click();
    await visitor.sees("Hello, turn 1: one");
    const back = (await visitor.shown()).map(([, , text]) => text);
    return { edited, regenerated, back };
  },
};

async function play(name, browser, pageUrl) {
  const proxy = await Proxy.to(url);
  const context = await browser.newContext();
  context.setDefaultTimeout(30_000);
  const page = await context.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  const visitor = new Visitor(page);
  const tools = { come: (assistant) => visitor.come(pageUrl, assistant, proxy.url), name: crypto.randomUUID(), cut: () => proxy.cut() };
  try {
    console.log(JSON.stringify({ scenario: name, complaints, ...(await SCENARIOS[name](visitor, tools)) }));
  } catch (error) {
    const shown = await page.locator("body").innerText().catch(() => "nothing");
    console.log(JSON.stringify({ scenario: name, failed: String(error), shown, complaints }));
  } finally {
    await context.close();
    proxy.close();
  }
}

const server = await pages();
const pageUrl = await listening(server);
const browser = await chromium.launch({ executablePath, args: FLAGS.map((flag) => `--${flag}`) });
try {
  await Promise.all(Object.keys(SCENARIOS).map((name) => play(name, browser, pageUrl)));
} finally {
  await browser.close();
  server.closeAllConnections();
  server.close();
}
