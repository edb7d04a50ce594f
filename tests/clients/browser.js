// A SMART application as most are written: pages with npm's `fhirclient`, in a real browser. Says where it listens, hears what
// to do, and tells what the application then knows.
const fs = require("fs");
const http = require("http");
const os = require("os");
const path = require("path");
const { chromium } = require("playwright-core");
const { run, say, hear } = require("./lines");

const LIBRARY = fs.readFileSync(require.resolve("fhirclient/build/fhir-client.pure.js"));
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

// The application: it is sent to authorize, comes back, reads what it was let in to, and refreshes its token.
function launchPage(settings) {
  return `<!doctype html><title>launching</title><script src="/fhir-client.js"></script><script>
    FHIR.oauth2.authorize(${JSON.stringify(settings)}).catch((error) => { document.title = "failed"; document.body.textContent = error.stack; });
  </script>`;
}

function applicationPage(types) {
  return `<!doctype html><title>working</title><script src="/fhir-client.js"></script><body></body><script>
  async function known(client) {
    const status = (url) => client.request(url).then(() => 200, (error) => error.statusCode);
    const types = ${JSON.stringify(types)};
    const before = client.state.tokenResponse.access_token;
    const found = {
      patient: client.patient.id && (await client.patient.read()).id,
      encounter: client.encounter.id && (await client.encounter.read()).id,
      user: client.user.fhirUser && (await client.user.read()).resourceType,
      scope: client.state.tokenResponse.scope,
      context: { banner: client.state.tokenResponse.need_patient_banner, style: client.state.tokenResponse.smart_style_url },
      statuses: Object.fromEntries(await Promise.all(types.map(async (type) => [type, await status(type)]))),
    };
    if (client.state.tokenResponse.refresh_token) {
      await client.refresh();
      found.refreshed = before !== client.state.tokenResponse.access_token;
      found.after = client.patient.id && (await client.patient.read()).id;
    }
    return found;
  }
  FHIR.oauth2.ready().then(known).then(
    (found) => { document.body.textContent = JSON.stringify(found); document.title = "done"; },
    (error) => { document.body.textContent = error.stack; document.title = "failed"; },
  );
</script>`;
}

run(async () => {
  let wish;
  const server = http.createServer((request, response) => {
    const page = new URL(request.url, "http://localhost").pathname;
    const answers = {
      "/fhir-client.js": ["text/javascript", LIBRARY],
      "/launch": ["text/html", launchPage({ clientId: wish.client, scope: wish.scope, redirectUri: `${origin}/app` })],
      "/app": ["text/html", applicationPage(wish.types)],
    };
    const [type, body] = answers[page] ?? ["text/plain", ""];
    response.writeHead(answers[page] ? 200 : 404, { "content-type": type }).end(body);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${server.address().port}`;
  say({ origin });

  wish = await hear();
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), "medconsult-browser-"));
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: wish.chromium,
    headless: true,
    args: FLAGS,
  });
  try {
    browser.setDefaultTimeout(60_000);
    if (wish.cookie) await browser.addCookies([{ ...wish.cookie, url: wish.root, httpOnly: true, sameSite: "Lax" }]);
    const page = await browser.newPage();
    if (wish.open) {
      // From within MedConsult, by what it shows.
      await page.goto(`${wish.root}/auth/apps`);
      await page.getByRole("link", { name: wish.open.name }).click();
      await page.getByRole("button", { name: "Open it" }).click();
      for (const answer of wish.open.answers) await answerOn(page, answer);
    } else {
      await page.goto(`${origin}/launch?iss=${encodeURIComponent(wish.base)}`);
    }
    if (wish.person) {
      await page.getByLabel("E-mail address").fill(wish.person.email);
      await page.getByLabel("Password", { exact: true }).fill(wish.person.password);
      await page.getByRole("button", { name: "Sign in", exact: true }).click();
    }
    for (const answer of wish.answers ?? []) await answerOn(page, answer);
    await page.getByRole("heading", { name: "Allow access?" }).waitFor();
    for (const summary of wish.untick?.length ? await page.locator("summary").all() : []) await summary.click();
    for (const value of wish.untick ?? []) await page.locator(`input[value="${value}"]`).uncheck();
    await page.getByRole("button", { name: "Allow", exact: true }).click();
    await page.waitForFunction(() => ["done", "failed"].includes(document.title));
    const text = await page.locator("body").textContent();
    if ((await page.title()) === "failed") throw new Error(text);
    return JSON.parse(text);
  } finally {
    await browser.close();
    server.close();
    fs.rmSync(profile, { recursive: true, force: true });
  }
});

// A search or a choice on one of MedConsult's pages.
async function answerOn(page, { search, choose }) {
  if (search) {
    await page.getByRole("searchbox").fill(search);
    await page.getByRole("button", { name: "Search" }).click();
  }
  if (choose) await page.getByRole("button", { name: choose }).click();
}
