// Somebody who lets an application act for them: SMART App Launch with PKCE, in a browser without scripts, and then FHIR.

import { createHash, createHmac, randomBytes } from "node:crypto";

import { Browser, textOf } from "./browser.mjs";

const REDIRECT = "http://127.0.0.1/callback";

const base64url = (bytes) => Buffer.from(bytes).toString("base64url");

/** The code of an authenticator app (RFC 6238), `later` half minutes from now. */
function codeOf(key, later = 0) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...key].map((letter) => alphabet.indexOf(letter).toString(2).padStart(5, "0")).join("");
  const secret = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + later));
  const hash = createHmac("sha1", secret).update(step).digest();
  const number = hash.readUInt32BE(hash[19] & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, "0");
}

export class Person {
  constructor(server, { email, password, codes }) {
    Object.assign(this, { server, email, password, codes });
    this.browser = new Browser(REDIRECT);
  }

  /** Lets the application in, with these scopes. */
  async launch(client, scope) {
    const issuer = `${this.server}/fhir`;
    const found = await fetch(`${issuer}/.well-known/smart-configuration`);
    const smart = await found.json();
    if (!smart.code_challenge_methods_supported?.includes("S256")) throw new Error("the server offers no PKCE by S256");
    const verifier = base64url(randomBytes(32));
    const state = base64url(randomBytes(16));
    const request = new URLSearchParams({
      response_type: "code",
      client_id: client,
      redirect_uri: REDIRECT,
      scope,
      state,
      aud: issuer,
      code_challenge: base64url(createHash("sha256").update(verifier).digest()),
      code_challenge_method: "S256",
    });
    const back = await this.allow(`${smart.authorization_endpoint}?${request}`);
    const answer = new URL(back).searchParams;
    if (answer.get("state") !== state) throw new Error(`somebody else's answer came back: ${back}`);
    if (!answer.get("code")) throw new Error(`no code: ${answer.get("error")}, ${answer.get("error_description")}`);
    const token = await fetch(smart.token_endpoint, {
      method: "POST",
      body: new URLSearchParams({
        grant_type: "authorization_code",
        code: answer.get("code"),
        redirect_uri: REDIRECT,
        client_id: client,
        code_verifier: verifier,
      }),
    });
    const granted = await token.json();
    if (!token.ok) throw new Error(`no token: ${JSON.stringify(granted)}`);
    this.token = granted.access_token;
    this.patient = granted.patient;
    const claims = JSON.parse(Buffer.from(granted.id_token.split(".")[1], "base64url"));
    this.profile = new URL(claims.fhirUser, `${issuer}/`).href.slice(issuer.length + 1);
    return granted;
  }

  /** Goes through the pages until the browser is sent back to the application; gives the address. */
  async allow(address) {
    let page = await this.browser.open(address);
    for (let steps = 0; steps < 8; steps += 1) {
      if (page.address.startsWith(REDIRECT)) return page.address;
      if (page.html.includes('name="password"')) {
        page = await this.browser.submit(page, { email: this.email, password: this.password });
      } else if (page.html.includes('name="code"')) {
        page = await this.showCode(page);
      } else if (page.html.includes('value="allow"')) {
        page = await this.browser.submit(page, { decision: "allow" });
      } else if (/name="patient" value="([^"]+)"/.test(page.html)) {
        page = await this.browser.submit(page, { patient: /name="patient" value="([^"]+)"/.exec(page.html)[1] });
      } else {
        // Signed in, and where people end who are not on their way to anything.
        page = await this.browser.open(address);
      }
    }
    throw new Error(`lost at ${page.address}: ${textOf(page.html)}`);
  }

  /** Shows the code of the moment; each is good once, so perhaps the next one. */
  async showCode(page) {
    const shown = await this.browser.submit(page, { code: codeOf(this.codes) });
    if (shown.status < 400) return shown;
    return this.browser.submit(shown, { code: codeOf(this.codes, 1) });
  }

  /** A request to the FHIR API. `expected` is the status that it must have. */
  async ask(method, path, { body, headers, expected = [200, 201] } = {}) {
    const isForm = body instanceof FormData;
    const answer = await fetch(path.startsWith("http") ? path : `${this.server}/fhir/${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.token}`,
        accept: "application/fhir+json",
        ...(body && !isForm && { "content-type": "application/fhir+json" }),
        ...headers,
      },
      body: body && !isForm ? JSON.stringify(body) : body,
    });
    const bytes = Buffer.from(await answer.arrayBuffer());
    if (![expected].flat().includes(answer.status)) {
      throw new Error(`${method} ${path} answers ${answer.status}: ${bytes.toString("utf8").slice(0, 1500)}`);
    }
    const isJson = (answer.headers.get("content-type") ?? "").includes("json");
    return isJson && bytes.length > 0 ? JSON.parse(bytes) : bytes;
  }

  read(path) {
    return this.ask("GET", path);
  }

  /** The matches of a search. */
  async find(query) {
    const bundle = await this.read(query);
    return (bundle.entry ?? []).filter((entry) => entry.search?.mode !== "outcome").map((entry) => entry.resource);
  }

  create(resource) {
    return this.ask("POST", resource.resourceType, { body: resource });
  }

  /** Calls an operation with parameters as pairs of a name and a value: `["start", {valueDateTime: "…"}]`. */
  async call(path, ...parameters) {
    const parameter = parameters.map(([name, value]) => ({ name, ...value }));
    return this.ask("POST", path, { body: { resourceType: "Parameters", parameter } });
  }
}
