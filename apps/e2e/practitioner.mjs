// What practitioners do, and those who run the practice, in words of their own.
import assert from 'node:assert/strict';
import { DESKTOP } from './browser.mjs';
import { codeOf, PASSWORD } from './practice.mjs';

/** The authenticator of the demo's staff. */
const KEY = 'NVSWIY3PNZZXK3DUEBSGK3LPEBRW6ZDF';
/** A code is good for so long, and once. */
const STEP = 30_000;
/** When each account used its last code. */
const used = new Map();

/** Somebody of the practice with a browser of their own, which says so when a page complains. `app`: the one that they use. */
export async function practitionerIn(
  browser,
  practice,
  { app = 'practitioner', size = DESKTOP, scheme = 'light', locale = 'en-GB', timeZone = 'Europe/Berlin' } = {},
) {
  const context = await browser.newContext({ viewport: size, colorScheme: scheme, locale, timezoneId: timeZone, acceptDownloads: true });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error' && /Content Security Policy|React|Uncaught/.test(message.text())) complaints.push(message.text());
  });
  return new Practitioner(practice, app, context, page, complaints);
}

export class Practitioner {
  constructor(practice, app, context, page, complaints) {
    Object.assign(this, { practice, home: `${practice.url}/apps/${app}`, context, page, complaints });
  }

  app(path = '/') {
    return this.home + path;
  }

  /** Waits until the server's pages are left. */
  async isBack() {
    await this.page.waitForURL((url) => url.href.startsWith(`${this.home}/`) && !url.searchParams.has('code'));
    await this.ready();
  }

  async open(path) {
    await this.page.goto(this.app(path));
    await this.ready();
  }

  /** Waits until nothing is on its way any more. */
  async ready() {
    await this.page.waitForSelector('main h1');
    await this.page.waitForFunction(() => document.querySelector('[aria-busy="true"], .mantine-Skeleton-root') === null);
  }

  /** Opens the app, which leads through the server's sign-in and back. */
  async signIn(email, path = '/') {
    await this.page.goto(this.app(path));
    await this.prove(email);
    await this.isBack();
  }

  /** Answers the server's pages with what the account has: its password, and a code. */
  async prove(email) {
    const { page } = this;
    this.email = email ?? this.email;
    await page.fill('input[name=email]', this.email);
    await page.fill('input[name=password]', PASSWORD);
    await page.click('form button:has-text("Sign in")');
    await this.giveCode();
  }

  /** Shows again, on the server's page, what an application has asked for, and comes back to it. */
  async proveAnew() {
    const { page } = this;
    await page.waitForURL(/\/auth\//);
    const password = page.locator('input[name=password]');
    const code = page.locator('input[name=code]');
    await password.or(code).first().waitFor();
    if (await page.locator('input[name=email]').count()) await page.fill('input[name=email]', this.email);
    if (await password.count()) {
      await password.fill(PASSWORD);
      await page.click('form:has(input[name=password]) button');
    }
    await this.giveCode();
    await this.isBack();
  }

  async giveCode() {
    await this.page.waitForSelector('input[name=code]');
    const step = () => Math.floor(Date.now() / STEP);
    while (used.get(this.email) === step()) await new Promise((resolve) => setTimeout(resolve, STEP - (Date.now() % STEP) + 50));
    used.set(this.email, step());
    await this.page.fill('input[name=code]', codeOf(KEY));
    await this.page.click('form:has(input[name=code]) button');
  }

  /** The row of a list that is about somebody. */
  row(name) {
    return this.page.locator('main li').filter({ hasText: name });
  }

  /** Chooses from the menu of a visit. */
  async choose(name, what) {
    await this.page
      .getByRole('button', { name: `More for ${name}` })
      .first()
      .click();
    await this.page.getByRole('menuitem', { name: what }).click();
  }

  /** Presses the button of the dialog that is open. */
  async confirm(action) {
    await this.page.getByRole('dialog').getByRole('button', { name: action, exact: true }).click();
    await this.page.getByRole('dialog').waitFor({ state: 'detached' });
  }

  /** What the page has said last. */
  async said(text) {
    await this.page.getByRole('status').filter({ hasText: text }).first().waitFor();
  }

  /** Asks FHIR with the token of the app. */
  fhir(method, path, body) {
    return this.page.evaluate(
      async ([verb, url, content]) => {
        const state = JSON.parse(sessionStorage.getItem(JSON.parse(sessionStorage.getItem('SMART_KEY'))));
        const headers = {
          'Authorization': `Bearer ${state.tokenResponse.access_token}`,
          'Content-Type': 'application/fhir+json',
          'Prefer': 'return=representation',
        };
        const answer = await fetch(`${state.serverUrl}/${url}`, { method: verb, headers, body: content && JSON.stringify(content) });
        const text = await answer.text();
        if (!answer.ok) throw new Error(`${verb} ${url}: ${answer.status} ${text}`);
        return text && JSON.parse(text);
      },
      [method, path, body],
    );
  }

  /** Books a visit for a patient at the next free time, or the first from `start` on; gives the Appointment. */
  async book(family, service, start) {
    const {
      entry: [{ resource: patient }],
    } = await this.fhir('GET', `Patient?family=${family}`);
    const {
      entry: [{ resource: self }],
    } = await this.fhir('GET', 'Practitioner?family=Bell');
    const from = start ? `&start=${start.toISOString()}` : '';
    const found = await this.fhir(
      'GET',
      `Appointment/$find?service=HealthcareService/${service}&practitioner=Practitioner/${self.id}&_count=1${from}`,
    );
    const {
      entry: [{ resource }],
    } = await this.fhir('POST', 'Appointment/$book', {
      resourceType: 'Parameters',
      parameter: [
        { name: 'appointment-reference', valueReference: { reference: `Appointment/${found.entry[0].resource.id}` } },
        { name: 'patient-reference', valueReference: { reference: `Patient/${patient.id}` } },
        { name: 'comment', valueString: 'My migraine is back.' },
      ],
    });
    return resource;
  }

  async leave() {
    await this.context.close();
    assert.deepEqual(this.complaints, []);
  }
}
