// A remote control of Chromium. Reads commands, one line of JSON each, from its standard input, and answers each with a line:
// {"ok": …} or {"error": "…"}. Ends, and the browser with it, when its standard input does.
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const readline = require("node:readline");
const { chromium } = require("playwright-core");

const QUIET = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const commands = {
  open: ({ page }, { url }) => page.goto(url).then((response) => response?.status() ?? null),
  fill: ({ page }, { label, value }) => page.getByLabel(label, { exact: true }).fill(value),
  // Presses a button or follows a link, and waits for the page that it leads to.
  press: async ({ page }, { name }) => {
    const loaded = page.waitForEvent("load");
    await page.getByRole("button", { name, exact: true }).or(page.getByRole("link", { name, exact: true })).click();
    await loaded;
  },
  // The same where no other page is expected, but a text on this one.
  pressFor: async ({ page }, { name, text }) => {
    await page.getByRole("button", { name, exact: true }).click();
    await page.getByText(text).waitFor();
  },
  text: ({ page }) => page.locator("body").innerText(),
  url: ({ page }) => page.url(),
  // Whether a button can be seen.
  sees: ({ page }, { name }) => page.getByRole("button", { name, exact: true }).isVisible(),
  // What an expression comes to on the page.
  evaluate: ({ page }, { expression }) => page.evaluate(expression),
  cookies: ({ page }) => page.context().cookies(),
  // What the browser complained about, as scripts and styles that the policy of a page forbids.
  complaints: ({ complaints }) => complaints.splice(0),
  // Plugs an authenticator in, which verifies its owner or cannot; gives its id.
  authenticator: async ({ cdp }, { verifies }) => {
    const options = {
      protocol: "ctap2",
      transport: "internal",
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: verifies,
      automaticPresenceSimulation: true,
    };
    const { authenticatorId } = await cdp.send("WebAuthn.addVirtualAuthenticator", { options });
    return authenticatorId;
  },
  unplug: ({ cdp }, { authenticatorId }) => cdp.send("WebAuthn.removeVirtualAuthenticator", { authenticatorId }),
  credentials: async ({ cdp }, { authenticatorId }) =>
    (await cdp.send("WebAuthn.getCredentials", { authenticatorId })).credentials,
  // Makes the authenticator hold a copy of a credential, as of an authenticator that was cloned.
  addCredential: ({ cdp }, { authenticatorId, credential }) =>
    cdp.send("WebAuthn.addCredential", { authenticatorId, credential }),
};

async function main() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "medconsult-browser-"));
  process.on("exit", () => fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  const context = await chromium.launchPersistentContext(folder, {
    executablePath: process.argv[2],
    args: QUIET,
    chromiumSandbox: false,
    javaScriptEnabled: !process.argv.includes("no-scripts"),
  });
  context.setDefaultTimeout(20_000);
  const page = context.pages()[0] ?? (await context.newPage());
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  const cdp = await context.newCDPSession(page);
  await cdp.send("WebAuthn.enable", { enableUI: false });
  const browser = { page, cdp, complaints };
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { command, ...parameters } = JSON.parse(line);
    const answer = await Promise.resolve()
      .then(() => commands[command](browser, parameters))
      .then(
        (ok) => ({ ok: ok ?? null }),
        (error) => ({ error: String(error) }),
      );
    console.log(JSON.stringify(answer));
  }
  await context.close();
}

main().then(
  () => process.exit(0),
  (error) => {
    console.log(JSON.stringify({ error: String(error) }));
    process.exit(1);
  },
);
