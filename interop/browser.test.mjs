// The playground's page in a real browser.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

import { VERSIONS } from "./lib/clients.mjs";
import { Gateway, HANDSHAKES } from "./lib/proxies.mjs";
import { Server } from "./lib/server.mjs";

const CHROMIUM = process.env.CHROMIUM_BIN ?? "/usr/bin/chromium";
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const TEST = { timeout: 90_000 };
const WAIT_MS = 15_000;
const RESULTS = fileURLToPath(new URL("test-results/", import.meta.url));

let profile;
let browser;
before(async () => {
  await mkdir(RESULTS, { recursive: true });
  profile = await mkdtemp(join(tmpdir(), "bennu-browser-"));
  browser = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    args: FLAGS,
    headless: true,
    chromiumSandbox: false,
    viewport: { width: 1000, height: 720 },
    timeout: 60_000,
  });
  browser.setDefaultTimeout(WAIT_MS);
}, { timeout: 90_000 });
after(async () => {
  await browser?.close();
  await rm(profile, { recursive: true, force: true, maxRetries: 5 });
});

async function serve(t, ...args) {
  const server = await Server.start(...args);
  t.after(() => server.stop());
  return server;
}

/** A tab, and everything it complained of. `init` runs in it before the page's own script. */
async function open(t, server, address = "", init = () => {}) {
  const page = await browser.newPage();
  t.after(() => page.close());
  await page.addInitScript(init);
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(`${server.http}/${address}`);
  return { page, complaints };
}

async function enter(t, server, name, room, init) {
  const tab = await open(t, server, `#${new URLSearchParams({ room, name })}`, init);
  await state(tab.page, "connection", "connected");
  await state(tab.page, "join-state", "joined");
  return tab;
}

const state = (page, id, value) => page.locator(`[data-testid="${id}"][data-state="${value}"]`).waitFor();

async function say(page, body) {
  await page.getByTestId("body-input").fill(body);
  await page.getByTestId("body-input").press("Enter");
}

/** The message as this tab shows it, once it is in the given state. */
const message = (page, body, value = "sent") => page.locator(`[data-testid="message"][data-state="${value}"]`, { hasText: body });

/** The browser itself reports each connection that it could not open; nothing else may be said. */
const notOfTheNetwork = (text) => !/^(WebSocket connection to .* failed|Failed to load resource: net::)/.test(text);

const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

test("two tabs talk to each other", TEST, async (t) => {
  const server = await serve(t);
  const ada = await enter(t, server, "ada", "lobby");
  const bob = await enter(t, server, "bob", "lobby");
  const cid = await enter(t, server, "cid", "elsewhere");

  await say(ada.page, "Hello, <b>Bob</b> & all 👋");
  for (const { page } of [ada, bob]) await message(page, "Hello, <b>Bob</b> & all 👋").waitFor();
  await say(bob.page, "Hello, Ada");
  for (const { page } of [ada, bob]) await message(page, "Hello, Ada").waitFor();
  assert.deepEqual(await ada.page.getByTestId("message").count(), 2);
  assert.deepEqual(await cid.page.getByTestId("message").count(), 0);
  assert.equal(await bob.page.locator(".body b").count(), 0, "what others write is never markup");

  await ada.page.getByTestId("body-input").pressSequentially("I am");
  await bob.page.getByTestId("typing").getByText("ada is typing").waitFor();
  await ada.page.getByTestId("latency").waitFor();
  assert.match(await ada.page.getByTestId("latency").textContent(), /^\d+ ms$/);

  await bob.page.screenshot({ path: join(RESULTS, "room-light.png") });
  await bob.page.emulateMedia({ colorScheme: "dark" });
  await bob.page.screenshot({ path: join(RESULTS, "room-dark.png") });
  assert.deepEqual([ada, bob, cid].flatMap(({ complaints }) => complaints), []);
});

test("a browser that offers to compress is understood, and understands", TEST, async (t) => {
  const server = await serve(t, "--compress");
  const ada = await enter(t, server, "ada", "lobby");
  const bob = await enter(t, server, "bob", "lobby");
  // Short and long: the server leaves what is short as it is.
  for (const body of ["Hello", "All work and no play makes Jack a dull boy. ".repeat(10).trim()]) {
    await say(ada.page, body);
    for (const { page } of [ada, bob]) await message(page, body).last().waitFor();
  }
  assert.deepEqual([...ada.complaints, ...bob.complaints].filter(notOfTheNetwork), []);
});

test("the form and the keyboard are enough to take part", TEST, async (t) => {
  const server = await serve(t);
  const { page, complaints } = await open(t, server);
  assert.equal(await page.evaluate(() => document.activeElement.id), "name-input");
  await page.keyboard.type("ada");
  await page.keyboard.press("Tab");
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.type("kitchen");
  await page.keyboard.press("Enter");
  await state(page, "join-state", "joined");
  assert.equal(new URL(page.url()).hash, "#room=kitchen&name=ada");
  await page.keyboard.type("by keys alone");
  await page.keyboard.press("Enter");
  await message(page, "by keys alone").waitFor();

  const unnamed = await page.evaluate(() =>
    [...document.querySelectorAll("input, button, [role=log]")]
      .filter((element) => !(element.labels?.length || element.getAttribute("aria-label") || element.textContent.trim()))
      .map((element) => element.id),
  );
  assert.deepEqual(unnamed, [], "every control has a name");
  assert.deepEqual(complaints, []);
});

test("another room is another conversation", TEST, async (t) => {
  const server = await serve(t);
  const { page, complaints } = await enter(t, server, "ada", "one");
  await say(page, "in one");
  await message(page, "in one").waitFor();
  await page.getByTestId("room-input").fill("two");
  await page.getByTestId("enter-button").click();
  await page.getByTestId("join-state").getByText("In two").waitFor();
  assert.equal(await page.getByTestId("message").count(), 0);
  await say(page, "in two");
  await message(page, "in two").waitFor();
  assert.deepEqual(complaints, []);
});

test("a room that refuses says so, and another can be chosen", TEST, async (t) => {
  const server = await serve(t);
  const { page, complaints } = await open(t, server, "#room=denied&name=ada");
  await state(page, "join-state", "refused");
  await page.getByTestId("notice").getByText("not allowed").waitFor();
  assert.equal(await page.getByTestId("body-input").isDisabled(), true);
  await page.screenshot({ path: join(RESULTS, "refused.png") });
  await page.getByTestId("room-input").fill("lobby");
  await page.getByTestId("enter-button").click();
  await state(page, "join-state", "joined");
  await page.getByTestId("notice").waitFor({ state: "hidden" });
  assert.deepEqual(complaints, []);
});

test("a server that goes and comes back is survived, and nothing typed is lost", TEST, async (t) => {
  const server = await serve(t);
  const ada = await enter(t, server, "ada", "lobby");
  const bob = await enter(t, server, "bob", "lobby");
  await say(ada.page, "before");
  await message(bob.page, "before").waitFor();

  await server.kill();
  for (const { page } of [ada, bob]) await state(page, "connection", "reconnecting");
  await ada.page.getByTestId("notice").getByText("cannot be reached").waitFor();
  for (const body of ["while away, one", "while away, two"]) {
    await say(ada.page, body);
    await message(ada.page, body, "pending").waitFor();
  }
  await ada.page.getByTestId("pending").getByText("2 messages wait").waitFor();
  await ada.page.getByTestId("connection").getByText(/in \d+ s \(attempt \d+\)/).waitFor();
  await ada.page.screenshot({ path: join(RESULTS, "server-away.png") });

  await server.restart();
  for (const { page } of [ada, bob]) {
    await state(page, "connection", "connected");
    await state(page, "join-state", "joined");
  }
  for (const body of ["while away, one", "while away, two"]) await message(ada.page, body).waitFor();
  await ada.page.getByTestId("pending").waitFor({ state: "hidden" });
  await ada.page.getByTestId("notice").waitFor({ state: "hidden" });
  await say(bob.page, "after");
  for (const { page } of [ada, bob]) await message(page, "after").waitFor();
  const bodies = await ada.page.locator('[data-testid="message"] .body').allTextContents();
  assert.deepEqual(bodies, ["before", "while away, one", "while away, two", "after"]);

  assert.deepEqual([ada, bob].flatMap(({ complaints }) => complaints).filter(notOfTheNetwork), []);
});

/** The requests for long polling that a page makes, by what makes them. */
function polls(page) {
  const seen = { xhr: 0, fetch: 0 };
  page.on("request", (request) => {
    if (new URL(request.url()).pathname === "/socket/longpoll") seen[request.resourceType()] += 1;
  });
  return seen;
}

for (const [requests, init] of [
  ["xhr", () => {}],
  ["fetch", () => delete globalThis.XMLHttpRequest],
]) {
  test(`where no WebSocket opens, the page polls by ${requests}, and survives its server`, TEST, async (t) => {
    const server = await serve(t);
    const gateway = await Gateway.start(t, server.http, HANDSHAKES.unanswered);
    const ada = await open(t, gateway, "", init);
    const seen = polls(ada.page);
    await ada.page.getByTestId("name-input").fill("ada");
    await ada.page.getByTestId("room-input").fill("lobby");
    await ada.page.getByTestId("enter-button").click();
    await state(ada.page, "connection", "connected");
    await state(ada.page, "join-state", "joined");
    const bob = await enter(t, server, "bob", "lobby");

    await say(ada.page, "by polling");
    await say(bob.page, "by WebSocket");
    for (const { page } of [ada, bob]) for (const body of ["by polling", "by WebSocket"]) await message(page, body).waitFor();
    const others = requests === "xhr" ? "fetch" : "xhr";
    assert.ok(seen[requests] >= 3, `requests: ${JSON.stringify(seen)}`);
    assert.equal(seen[others], 0);
    assert.equal(gateway.handshakes, 1);

    await server.kill();
    for (const { page } of [ada, bob]) await state(page, "connection", "reconnecting");
    await say(ada.page, "while away");
    await message(ada.page, "while away", "pending").waitFor();
    await server.restart();
    for (const { page } of [ada, bob]) await state(page, "join-state", "joined");
    await message(ada.page, "while away").waitFor();
    await say(bob.page, "after");
    for (const { page } of [ada, bob]) await message(page, "after").waitFor();

    await ada.page.reload();
    await state(ada.page, "join-state", "joined");
    assert.equal(gateway.handshakes, 1, "the tab remembers that it polls");
    assert.deepEqual([ada, bob].flatMap(({ complaints }) => complaints).filter(notOfTheNetwork), []);
  });
}

const BLANK = '<!doctype html><link rel="icon" href="data:,">';

for (const { line, exact, path } of VERSIONS) {
  test(`phoenix.js ${exact} polls in a browser, and survives its server`, TEST, async (t) => {
    const server = await serve(t);
    await browser.route(`${server.http}/blank`, (route) => route.fulfill({ contentType: "text/html", body: BLANK }));
    const { page, complaints } = await open(t, server, "blank");
    const seen = polls(page);
    await page.addScriptTag({ path: join(dirname(path), "phoenix.js") });
    const talked = await page.evaluate(async (user_id) => {
      const { LongPoll, Socket } = globalThis.Phoenix;
      const socket = new Socket("/socket", { transport: LongPoll, params: { user_id } });
      const channel = socket.channel("room:old", {});
      const answer = (push) =>
        new Promise((resolve, reject) => {
          push.receive("ok", resolve).receive("error", reject).receive("timeout", () => reject(new Error("no answer")));
        });
      const ask = (event, payload) => answer(channel.push(event, payload));
      const shouts = [];
      channel.on("shout", ({ n }) => shouts.push(n));
      socket.connect();
      await answer(channel.join());
      for (let n = 1; n <= 20; n += 1) await ask("shout_ack", { n });
      const text = "é\u0000👋".repeat(10_000);
      const { data } = await ask("echo", { data: text });
      let joins = 0;
      const again = new Promise((resolve) => {
        // Told at once of the join that was.
        channel.joinPush.receive("ok", () => {
          joins += 1;
          if (joins === 2) resolve();
        });
      });
      const gone = new Promise((resolve) => socket.onError(resolve));
      // For the next visits.
      globalThis.lookAway = () => gone.then(() => true);
      globalThis.lookAgain = async () => {
        await again;
        const [{ count }, who] = [await ask("count", {}), await ask("whoami", {})];
        return { count, user_id: who.user_id };
      };
      return { shouts, isEcho: data === text };
    }, line);
    assert.deepEqual(talked, { shouts: Array.from({ length: 20 }, (_, index) => index + 1), isEcho: true });
    await server.kill();
    // Until the client knows, the browser may make its poll again by itself. An answer to that is one that begins a
    // session, and clients before 1.8 take it for the session that they had.
    await page.evaluate(() => globalThis.lookAway());
    await server.restart();
    assert.deepEqual(await page.evaluate(() => globalThis.lookAgain()), { count: 1, user_id: line });
    assert.ok(seen.xhr > 20);
    assert.deepEqual(complaints.filter(notOfTheNetwork), []);
  });
}

test("a phone shows the whole room", TEST, async (t) => {
  const server = await serve(t);
  const { page, complaints } = await enter(t, server, "a-rather-long-name-without-any-spaces", "a-room-with-quite-a-long-name-too");
  await page.setViewportSize({ width: 390, height: 844 });
  const long = "x".repeat(300);
  for (const body of [long, "short", "A longer message that wraps over more than one line on a screen of this width.", "last"]) await say(page, body);
  await message(page, "last").waitFor();
  assert.ok((await overflow(page)) <= 0, "nothing sticks out sideways");
  const small = await page.evaluate(() =>
    [...document.querySelectorAll("input")].filter((input) => parseFloat(getComputedStyle(input).fontSize) < 16).map((input) => input.id),
  );
  assert.deepEqual(small, [], "fields that a phone would zoom into");
  const composer = await page.getByTestId("composer").boundingBox();
  assert.ok(composer.y + composer.height <= 844, "the message field is on the screen");
  await page.screenshot({ path: join(RESULTS, "phone.png") });
  await page.setViewportSize({ width: 320, height: 568 });
  assert.ok((await overflow(page)) <= 0, "nothing sticks out sideways on the smallest screen");
  assert.deepEqual(complaints, []);
});
