// A browser that runs no scripts: it keeps cookies, follows redirections, and fills in forms.

const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'", "#x27": "'", "#34": '"' };

function decoded(text) {
  return text.replace(/&(amp|lt|gt|quot|#39|#x27|#34);/g, (_, name) => ENTITIES[name]);
}

function attributes(tag) {
  const found = {};
  for (const [, name, quoted, bare] of tag.matchAll(/([a-zA-Z-]+)(?:=(?:"([^"]*)"|([^\s">]+)))?/g)) {
    found[name.toLowerCase()] = decoded(quoted ?? bare ?? "");
  }
  return found;
}

/** The forms of a page: where they go, and what they hold as they were served. */
export function formsOf(html, address) {
  const forms = [];
  for (const [, head, body] of html.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/gi)) {
    const form = attributes(head);
    const fields = [];
    for (const [, tag] of body.matchAll(/<(?:input|button)\b([^>]*)>/gi)) {
      const input = attributes(tag);
      const isLeftOut = ["checkbox", "radio"].includes(input.type) && !("checked" in input);
      if (input.name && !isLeftOut && input.type !== "submit") fields.push([input.name, input.value ?? ""]);
    }
    for (const [, tag, text] of body.matchAll(/<textarea\b([^>]*)>([\s\S]*?)<\/textarea>/gi)) {
      fields.push([attributes(tag).name, decoded(text)]);
    }
    const action = new URL(form.action || address, address).href;
    forms.push({ action, method: (form.method ?? "get").toUpperCase(), fields, html: body });
  }
  return forms;
}

export class Browser {
  /** `stopAt`: where redirections are not followed any more, as at the address of an application. */
  constructor(stopAt) {
    this.stopAt = stopAt;
    this.cookies = new Map();
  }

  async open(address, init = {}) {
    const jar = this.cookies.get(new URL(address).origin) ?? new Map();
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(address, {
      redirect: "manual",
      ...init,
      headers: { ...(cookie && { cookie }), ...init.headers },
    });
    for (const line of response.headers.getSetCookie()) {
      const [name, value] = line.split(";")[0].split("=");
      if (/max-age=0\b/i.test(line)) jar.delete(name);
      else jar.set(name, value);
    }
    this.cookies.set(new URL(address).origin, jar);
    if (response.status >= 300 && response.status < 400) {
      const next = new URL(response.headers.get("location"), address).href;
      if (this.stopAt && next.startsWith(this.stopAt)) return { status: response.status, address: next, html: "" };
      return this.open(next);
    }
    return { status: response.status, address, html: await response.text() };
  }

  /** Sends the form of a page whose fields include all of `filled`, with these filled in. */
  async submit(page, filled) {
    const forms = formsOf(page.html, page.address);
    const has = (form, name) => form.html.includes(`name="${name}"`);
    const form = forms.find((form) => Object.keys(filled).every((name) => has(form, name)));
    if (!form) throw new Error(`no form at ${page.address} asks for ${Object.keys(filled)}: ${textOf(page.html)}`);
    const fields = form.fields.filter(([name]) => !(name in filled)).concat(Object.entries(filled));
    const origin = new URL(page.address).origin;
    return this.open(form.action, {
      method: form.method,
      body: new URLSearchParams(fields),
      headers: { origin },
    });
  }
}

/** What a person reads on a page. */
export function textOf(html) {
  const body = html.replace(/<(style|script|title)\b[\s\S]*?<\/\1>/gi, "");
  return decoded(body.replace(/<[^>]*>/g, " ")).replace(/\s+/g, " ").trim();
}
