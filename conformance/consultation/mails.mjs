// The mails that people got: from a list that the demo serves, or from a folder of files.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

function unquoted(text) {
  const bytes = text
    .replace(/=\n/g, "")
    .replace(/=([0-9A-F]{2})/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
  return Buffer.from(bytes, "latin1").toString("utf8");
}

function partsOf(head, body) {
  const type = /^content-type:\s*([^;\n]+)/im.exec(head)?.[1].trim().toLowerCase() ?? "text/plain";
  const boundary = /boundary="?([^";\n]+)/i.exec(head)?.[1];
  if (boundary) {
    const parts = body.split(`--${boundary}`).slice(1, -1);
    return parts.flatMap((part) => {
      const at = part.indexOf("\n\n");
      return partsOf(part.slice(0, at).replace(/\n[ \t]+/g, " "), part.slice(at + 2));
    });
  }
  const encoding = /^content-transfer-encoding:\s*(\S+)/im.exec(head)?.[1].toLowerCase();
  if (encoding === "base64") return [{ type, text: Buffer.from(body, "base64").toString("utf8") }];
  if (encoding === "quoted-printable") return [{ type, text: unquoted(Buffer.from(body).toString("latin1")) }];
  return [{ type, text: body }];
}

/** Reads a mail: to whom it is, and its text. */
function read(source) {
  const text = source.replace(/\r\n/g, "\n");
  const at = text.indexOf("\n\n");
  const head = text.slice(0, at).replace(/\n[ \t]+/g, " ");
  const parts = partsOf(head, text.slice(at + 2));
  return {
    to: /^to:\s*(.*)$/im.exec(head)?.[1] ?? "",
    subject: /^subject:\s*(.*)$/im.exec(head)?.[1] ?? "",
    text: parts.find((part) => part.type === "text/plain")?.text ?? "",
    all: parts.map((part) => part.text).join("\n"),
  };
}

/** All mails to an address so far. */
export async function mailsTo(address, where) {
  if (/^https?:/.test(where)) {
    const answer = await fetch(`${where}?to=${encodeURIComponent(address)}`);
    if (!answer.ok) throw new Error(`${where} answers ${answer.status}`);
    return answer.json();
  }
  const files = await readdir(where).catch(() => []);
  const whole = files.filter((file) => !file.startsWith("."));
  const sources = await Promise.all(whole.map((file) => readFile(join(where, file), "utf8")));
  return sources.map(read).filter((mail) => mail.to.includes(address));
}
