#!/usr/bin/env node
// A consultation from its beginning to its end, through HTTP alone: somebody signs up, finds a time, books and pays it, is approved,
// is moved across a change of the clocks, uploads a document, gets a signed prescription, is told of all of it by mail, cancels, gets
// the money back; and the audit trail names every step.
//
//   node conformance/consultation.mjs [--server http://127.0.0.1:8080] [--mails WHERE] [--service first-visit]
//       [--practitioner EMAIL] [--admin EMAIL] [--password PASSWORD] [--codes KEY] [--client ID]
//
// Without options it runs against the demo (`make run`). WHERE is an address that answers ?to=… with a list of mails, or a folder with
// one file per mail. The service must be paid before the practitioner approves it, and the practitioner must live where clocks change.
// Needs Node 20 or later and nothing else. Ends with 0 when all of it holds; otherwise tells what does not.

import { createHash, randomBytes } from "node:crypto";
import { parseArgs } from "node:util";

import { Browser, textOf } from "./consultation/browser.mjs";
import { mailsTo } from "./consultation/mails.mjs";
import { Person } from "./consultation/person.mjs";
import { nextChange, offsetAt, wallTime } from "./consultation/zones.mjs";

const { values: options } = parseArgs({
  options: {
    server: { type: "string", default: "http://127.0.0.1:8080" },
    mails: { type: "string" },
    service: { type: "string", default: "first-visit" },
    practitioner: { type: "string", default: "bell@demo.example" },
    admin: { type: "string", default: "admin@demo.example" },
    password: { type: "string", default: "try-medconsult" },
    codes: { type: "string", default: "NVSWIY3PNZZXK3DUEBSGK3LPEBRW6ZDF" },
    client: { type: "string", default: "demo" },
  },
});
const server = options.server.replace(/\/$/, "");
const mails = options.mails ?? `${server}/demo/mails.json`;
const { password, codes } = options;

const MC = "https://medconsult.example/fhir";
const LABELS = `${MC}/CodeSystem/appointment-label`;
/** What nobody but the patient and the practice may read; it is looked for in mails. */
const REASON = "An itch behind the left knee";
const MEDICINE = "Cetirizine 10 mg tablets";
/** How long anything that happens in the background may take. */
const PATIENCE = 60_000;

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

let step = "";

/** One step: what it is, and what must hold. */
async function doing(what, work) {
  step = what;
  const told = await work();
  console.log(`✓ ${what}${told ? `: ${told}` : ""}`);
}

function check(holds, otherwise) {
  if (!holds) throw new Error(otherwise);
}

/** Asks again until there is an answer. */
async function until(what, ask) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

const labelOf = (visit) => visit.meta?.tag?.find((tag) => tag.system === LABELS)?.code;
const participant = (visit, type) => visit.participant.find(({ actor }) => actor.reference?.startsWith(`${type}/`));
const parameter = (parameters, name) => parameters.parameter.find((one) => one.name === name);
const only = (bundle) => bundle.entry[0].resource;

const visitor = `visitor-${randomBytes(5).toString("hex")}@patients.example`;
const secret = `plover ${randomBytes(6).toString("hex")} lamps`;

const patient = new Person(server, { email: visitor, password: secret });
const practitioner = new Person(server, { email: options.practitioner, password, codes });
const admin = new Person(server, { email: options.admin, password, codes });
/** What the patient is told of by mail, beside the link that verifies the address. */
const events = [
  "payment-succeeded",
  "appointment-requested",
  "appointment-approved",
  "appointment-rescheduled",
  "prescription-added",
  "appointment-cancelled",
  "payment-refunded",
];
/** What was written on the way, by type. */
const left = {};

async function reading(id) {
  return patient.read(`Appointment/${id}`);
}

/** Waits until the patient was told of these events: a mail that is overtaken by the next event is never sent. */
async function mailed(...events) {
  return until(`mails of ${events.join(", ")}`, async () => {
    const sent = await patient.find("Communication?_count=200");
    const mine = sent.filter(({ status, recipient }) => status === "completed" && recipient?.[0].reference === patient.profile);
    const codes = mine.flatMap(({ reasonCode }) => reasonCode.flatMap(({ coding }) => coding.map(({ code }) => code)));
    return events.every((event) => codes.includes(event)) && mine;
  });
}

async function main() {
  await doing("signs up", async () => {
    const browser = new Browser();
    const page = await browser.open(`${server}/auth/sign-up`);
    const sent = await browser.submit(page, { given: "Vera", family: "Holm", email: visitor, password: secret });
    check(sent.address.endsWith("/auth/check-mail"), `not told to look for a mail: ${textOf(sent.html)}`);
    return visitor;
  });

  await doing("verifies the address by the link that was mailed", async () => {
    const link = await until("the mail with the link", async () => {
      const found = (await mailsTo(visitor, mails)).map((mail) => /https?:\/\/\S+\/auth\/confirm\?link=[\w-]+/.exec(mail.text));
      return found.find(Boolean)?.[0];
    });
    const browser = new Browser();
    const page = await browser.open(link);
    const done = await browser.submit(page, { link: new URL(link).searchParams.get("link") });
    check(done.address.endsWith("/auth/sign-in"), `not let in: ${textOf(done.html)}`);
  });

  await doing("lets an application in by SMART App Launch with PKCE", async () => {
    const scope = "openid fhirUser launch/patient patient/*.rs user/*.cruds";
    const granted = await patient.launch(options.client, scope);
    check(patient.profile === `Patient/${granted.patient}`, `launched for ${granted.patient}, not for ${patient.profile}`);
    await fetch(`${server}/fhir/${patient.profile}`).then((answer) => check(answer.status === 401, "open without a token"));
    return granted.scope;
  });

  await doing("tells the practice who they are", async () => {
    const stored = await patient.read(patient.profile);
    const told = { ...stored, gender: "female", birthDate: "1990-02-28" };
    told.address = [{ use: "home", line: ["Lindgatan 4"], postalCode: "753 10", city: "Uppsala", country: "SE" }];
    await patient.ask("PUT", patient.profile, { body: told });
  });

  await doing("practitioner and administrator sign in with a second factor", async () => {
    const scope = "openid fhirUser user/*.cruds";
    await practitioner.launch(options.client, scope);
    await admin.launch(options.client, "openid fhirUser user/*.rs");
    return `${practitioner.profile}, ${admin.profile}`;
  });

  let visit;
  let zone;
  let change;
  let proposed;
  const find = (...parameters) =>
    patient
      .call(
        "Appointment/$find",
        ["practitioner", { valueReference: { reference: practitioner.profile } }],
        ["service", { valueReference: { reference: `HealthcareService/${options.service}` } }],
        ...parameters,
      )
      .then((bundle) => (bundle.entry ?? []).map((entry) => entry.resource));
  const between = (start, end) =>
    find(
      ["start", { valueDateTime: new Date(start).toISOString() }],
      ["end", { valueDateTime: new Date(end).toISOString() }],
      ["_count", { valuePositiveInt: 1000 }],
    );

  await doing("finds a time in the week before the practitioner's clocks change", async () => {
    const [first] = await find(["first-available", { valueBoolean: true }]);
    check(first, "nothing can be booked");
    zone = first._start.extension.find((extension) => extension.valueCode).valueCode;
    // Not one that is nearly here: who moves a visit late has to ask.
    change = nextChange(zone, Date.now() + 5 * DAY);
    check(change, `clocks do not change in ${zone}`);
    const times = await between(change - 4 * DAY, change - HOUR);
    check(times.length > 0, `no time is free before ${new Date(change).toISOString()}`);
    proposed = times[Math.floor(times.length / 2)];
    return `${proposed.start}, ${zone}; the clocks change at ${new Date(change).toISOString()}`;
  });

  await doing("holds it while filling in the form, and books it", async () => {
    const reference = { valueReference: { reference: `Appointment/${proposed.id}` } };
    const held = only(await patient.call("Appointment/$hold", ["appointment-reference", reference]));
    check(labelOf(held) === "held", `it is ${labelOf(held)}`);
    const wish = { ...held, description: REASON, reasonCode: [{ text: REASON }] };
    visit = only(await patient.call("Appointment/$book", ["appointment-resource", { resource: wish }]));
    check(labelOf(visit) === "pending-payment", `it is ${labelOf(visit)}, not waiting for a payment`);
    check(participant(visit, "Patient").status === "tentative", "the patient counts as having paid");
    left.Appointment = visit.id;
  });

  await doing("pays on the page of the payment provider", async () => {
    const answer = await patient.call(`Appointment/${visit.id}/$pay`);
    const url = parameter(answer, "url").valueUri;
    [, left.Invoice] = parameter(answer, "invoice").valueReference.reference.split("/");
    const browser = new Browser();
    let page = await browser.open(url);
    page = await browser.submit(page, { card: "4000 0000 0000 0002" });
    check(page.html.includes("declined"), `a declined card is not told of: ${textOf(page.html)}`);
    check(labelOf(await reading(visit.id)) === "pending-payment", "a declined card has booked the visit");
    page = await browser.submit(page, { card: "4242 4242 4242 4242" });
    check(page.status < 400, `after paying: ${page.status} at ${page.address}`);
    visit = await until("the payment", async () => {
      const now = await reading(visit.id);
      return labelOf(now) !== "pending-payment" && now;
    });
    check(labelOf(visit) === "requested", `it is ${labelOf(visit)}, not waiting for the practitioner`);
    const invoice = await patient.read(`Invoice/${left.Invoice}`);
    check(invoice.status === "balanced", `the invoice is ${invoice.status}`);
    await mailed("payment-succeeded", "appointment-requested");
    return `${invoice.totalGross.value} ${invoice.totalGross.currency}`;
  });

  await doing("is approved by the practitioner", async () => {
    const response = await practitioner.create({
      resourceType: "AppointmentResponse",
      appointment: { reference: `Appointment/${visit.id}` },
      actor: { reference: practitioner.profile },
      participantStatus: "accepted",
    });
    left.AppointmentResponse = response.id;
    visit = await reading(visit.id);
    check(visit.status === "booked" && labelOf(visit) === "approved", `it is ${labelOf(visit)}`);
    const calendar = await patient.read(`Appointment/${visit.id}/$calendar`);
    check(Buffer.from(calendar.data ?? calendar, "base64").includes("BEGIN:VCALENDAR"), "there is no calendar file");
    await mailed("appointment-approved");
  });

  await doing("is moved across the change of the clocks", async () => {
    const before = visit;
    const wall = wallTime(zone, before.start);
    const times = await between(change + HOUR, change + 5 * DAY);
    const same = times.find((time) => wallTime(zone, time.start) === wall);
    check(same, `${wall} is not free on the days after the change`);
    const reference = { valueReference: { reference: `Appointment/${same.id}` } };
    visit = only(await patient.call(`Appointment/${visit.id}/$reschedule`, ["appointment-reference", reference]));
    check(visit.id === before.id && labelOf(visit) === "approved", `it is ${visit.id}, ${labelOf(visit)}`);
    const shift = offsetAt(zone, visit.start) - offsetAt(zone, before.start);
    check(shift !== 0, "it lies on the same side of the change");
    check(wallTime(zone, visit.start) === wall, "it begins at another time of the day");
    const apart = Date.parse(visit.start) - Date.parse(before.start);
    check((apart + shift * 60_000) % DAY === 0, "the instants do not differ by whole days and the shift");
    const invoice = await patient.read(`Invoice/${left.Invoice}`);
    check(invoice.status === "balanced", "what was paid is no longer paid");
    const history = await patient.find(`Appointment/${visit.id}/_history`);
    const starts = history.map(({ start }) => Date.parse(start));
    check(starts[0] === Date.parse(visit.start) && starts.includes(Date.parse(before.start)), "its history does not tell of it");
    await mailed("appointment-rescheduled");
    return `${before.start} became ${visit.start}: ${wall} in ${zone}, ${Math.abs(shift)} minutes off`;
  });

  await doing("uploads a document, which the practitioner opens", async () => {
    const bytes = Buffer.from(pdf("Blood count of a person who does not exist"), "latin1");
    const form = new FormData();
    form.set("file", new Blob([bytes], { type: "application/pdf" }), "blood-count.pdf");
    form.set("category", "lab-report");
    form.set("title", "Blood count");
    form.set("related", `Appointment/${visit.id}`);
    const document = await patient.ask("POST", "DocumentReference/$upload", { body: form });
    left.DocumentReference = document.id;
    const address = document.content[0].attachment.url.replace(/^.*(?=Binary\/)/, "");
    [, left.Binary] = address.split("/");
    const opened = await practitioner.ask("GET", address, { headers: { accept: "application/pdf" } });
    const digest = (content) => createHash("sha256").update(content).digest("hex");
    check(digest(opened) === digest(bytes), `what comes back is not what was sent (${opened.length} of ${bytes.length} bytes)`);
    return `${bytes.length} bytes`;
  });

  await doing("gets a prescription, signed and printed", async () => {
    const draft = await practitioner.create({
      resourceType: "MedicationRequest",
      meta: { profile: [`${MC}/StructureDefinition/prescription`] },
      status: "draft",
      intent: "order",
      medicationCodeableConcept: { text: MEDICINE },
      subject: { reference: patient.profile },
      requester: { reference: practitioner.profile },
      authoredOn: new Date().toISOString(),
      groupIdentifier: { system: `${MC}/sid/prescription`, value: `C-${randomBytes(5).toString("hex").toUpperCase()}` },
      dosageInstruction: [
        {
          timing: { repeat: { frequency: 1, period: 1, periodUnit: "d" } },
          doseAndRate: [{ doseQuantity: { value: 1, unit: "tablet" } }],
        },
      ],
      dispenseRequest: { numberOfRepeatsAllowed: 0, quantity: { value: 14, unit: "tablet" } },
    });
    left.MedicationRequest = draft.id;
    const active = { ...draft, status: "active" };
    await practitioner.ask("PUT", `MedicationRequest/${draft.id}`, { body: active, expected: [409, 422] });
    const reference = { valueReference: { reference: `MedicationRequest/${draft.id}` } };
    const signed = await practitioner.call("MedicationRequest/$sign", ["prescription", reference]);
    const resources = signed.entry.map((entry) => entry.resource);
    const provenance = resources.find((one) => one.resourceType === "Provenance");
    check(provenance?.signature?.[0]?.data, "there is no signature");
    left.Provenance = provenance.id;
    const prescription = await patient.read(`MedicationRequest/${draft.id}`);
    check(prescription.status === "active", `it is ${prescription.status}`);
    const sheet = resources.find((one) => one.resourceType === "DocumentReference");
    const address = sheet.content[0].attachment.url.replace(/^.*(?=Binary\/)/, "");
    const printed = await patient.ask("GET", address, { headers: { accept: "application/pdf" } });
    check(printed.subarray(0, 5).toString() === "%PDF-", "the sheet is no PDF");
    await mailed("prescription-added");
    return `${printed.length} bytes of PDF`;
  });

  await doing("cancels, and gets the money back", async () => {
    const cancelled = await patient.call(`Appointment/${visit.id}/$cancel`);
    check(labelOf(cancelled) === "cancelled" && !cancelled.slot, `it is ${labelOf(cancelled)}`);
    const refund = await until("the refund", async () => {
      const found = await admin.find("PaymentReconciliation?_sort=-_lastUpdated&_count=50");
      const isRefund = ({ type, request }) =>
        type.coding.some(({ code }) => code === "adjustment") && request?.reference === `Invoice/${left.Invoice}`;
      return found.find((one) => one.detail?.some(isRefund));
    });
    left.PaymentReconciliation = refund.id;
    const again = await between(Date.parse(visit.start), Date.parse(visit.start) + 1000);
    check(again.length === 1, "its time is not free again");
    return `${refund.paymentAmount.value} ${refund.paymentAmount.currency}`;
  });

  await doing("was told of everything by mail, and of nothing that is nobody's business", async () => {
    const told = await mailed(...events);
    const arrived = await until("the last mail", async () => {
      const arrived = await mailsTo(visitor, mails);
      return arrived.length >= Math.max(told.length, events.length + 1) && arrived;
    });
    for (const mail of arrived) {
      const text = `${mail.subject} ${mail.all ?? mail.text}`;
      for (const word of [REASON, "knee", MEDICINE, "Cetirizine", "Blood count", "Dr. "]) {
        check(!text.includes(word), `a mail says "${word}": ${mail.subject}`);
      }
      check(/https?:\/\//.test(mail.text), `a mail leads nowhere: ${mail.subject}`);
    }
    return `${arrived.length} mails: ${arrived.map(({ subject }) => subject).join("; ")}`;
  });

  await doing("and the audit trail names every step", () => trail(visit));
}

/** Looks for a record of each step, and for who did it. */
async function trail(visit) {
  const id = visit.id;
  const by = (person) => (event) => event.agent.some(({ who }) => who?.reference?.endsWith(person.profile));
  const did = (code) => (event) => event.subtype?.some((one) => one.code === code);
  const anybody = () => true;
  const steps = [
    ["the account was opened", `Patient/${patient.profile.split("/")[1]}`, "create", anybody, "update"],
    ["the visit was held", `Appointment/${id}`, "create", by(patient)],
    ["the visit was booked, paid, approved, moved and cancelled", `Appointment/${id}`, "update", by(patient)],
    ["the visit was read by the patient", `Appointment/${id}`, "read", by(patient)],
    ["the invoice was made", `Invoice/${left.Invoice}`, "create", by(patient)],
    ["the practitioner approved", `AppointmentResponse/${left.AppointmentResponse}`, "create", by(practitioner)],
    ["the visit changed by that", `Appointment/${id}`, "update", by(practitioner)],
    ["the document was uploaded", `DocumentReference/${left.DocumentReference}`, "create", by(patient)],
    ["the document was opened", `Binary/${left.Binary}`, "read", by(practitioner)],
    ["the prescription was written", `MedicationRequest/${left.MedicationRequest}`, "create", by(practitioner)],
    ["the prescription became active", `MedicationRequest/${left.MedicationRequest}`, "update", by(practitioner)],
    ["it was signed", `Provenance/${left.Provenance}`, "create", by(practitioner), "update"],
  ];
  const found = await until("the records of all steps", async () => {
    const missing = [];
    for (const [what, entity, code, who, or] of steps) {
      const events = await admin.find(`AuditEvent?entity=${entity}&_count=100`);
      if (!events.some((event) => (did(code)(event) || did(or)(event)) && who(event))) missing.push(`${what} (${code} of ${entity})`);
    }
    trail.missing = missing;
    return missing.length === 0;
  }).catch((error) => {
    throw new Error(`${error.message}: ${trail.missing.join("; ")}`);
  });
  check(found, "unreachable");
  const signed = await admin.find(`AuditEvent?agent=${patient.profile}&_count=200`);
  check(signed.some((event) => event.type.code === "110114"), "nothing tells that the patient signed in");
  const own = await patient.find("AuditEvent?_count=200");
  check(own.some(by(practitioner)), "the patient cannot see who opened their record");
  return `${steps.length} kinds of steps, ${signed.length} records of the patient's own doing`;
}

/** A PDF of one line. */
function pdf(line) {
  const text = `BT /F1 14 Tf 60 780 Td (${line}) Tj ET`;
  const objects = [
    "<< /Type /Catalog /Pages 2 0 R >>",
    "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
    "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
    `<< /Length ${text.length} >>\nstream\n${text}\nendstream`,
    "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
  ];
  let file = "%PDF-1.4\n";
  const places = objects.map((object, n) => {
    const place = file.length;
    file += `${n + 1} 0 obj\n${object}\nendobj\n`;
    return String(place).padStart(10, "0");
  });
  const at = file.length;
  file += `xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${places.map((place) => `${place} 00000 n \n`).join("")}`;
  return `${file}trailer\n<< /Size ${objects.length + 1} /Root 1 0 R >>\nstartxref\n${at}\n%%EOF\n`;
}

main().then(
  () => console.log("All of it holds."),
  (error) => {
    console.error(`✗ ${step}: ${error.message}`);
    process.exitCode = 1;
  },
);
