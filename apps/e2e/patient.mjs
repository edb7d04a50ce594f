// What patients do, in words of their own.
import assert from 'node:assert/strict';
import { DESKTOP } from './browser.mjs';
import { PASSWORD } from './practice.mjs';

/** A patient with a browser of their own, which says so when a page complains. */
export async function patientIn(browser, practice, { size = DESKTOP, scheme = 'light', locale = 'en-GB', timeZone = 'Europe/Berlin' } = {}) {
  const context = await browser.newContext({ viewport: size, colorScheme: scheme, locale, timezoneId: timeZone, acceptDownloads: true });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error' && /Content Security Policy|React|Uncaught/.test(message.text())) complaints.push(message.text());
  });
  return new Patient(practice, context, page, complaints);
}

export class Patient {
  constructor(practice, context, page, complaints) {
    Object.assign(this, { practice, context, page, complaints });
  }

  app(path = '/') {
    return `${this.practice.url}/apps/patient${path}`;
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
  async signIn(email, password = PASSWORD) {
    await this.page.goto(this.app());
    await this.page.fill('input[name=email]', email);
    await this.page.fill('input[name=password]', password);
    await this.page.click('form button:has-text("Sign in")');
    await this.page.waitForURL(/\/apps\/patient\//);
    await this.ready();
  }

  /** Picks the `nth` free time of the first day that has any, `weeks` from now. */
  async pickTime(nth = 0, weeks = 0) {
    await this.page.waitForSelector('[aria-label="Days"]');
    for (let week = 0; week < weeks; week += 1) await this.page.click('button[aria-label="Later days"]');
    const time = this.page.locator('fieldset ul button:not([disabled])').nth(nth);
    await time.waitFor();
    await time.click();
  }

  /** Answers what is asked before a visit, and agrees. */
  async tell(reason) {
    await this.page.waitForSelector('form textarea');
    await this.page.fill('form textarea >> nth=0', reason);
    await this.page.check('input[type=radio][value=false]');
    const consent = this.page.getByLabel('I agree to be seen by video');
    if (await consent.count()) await consent.check();
  }

  /** Pays on the payment provider's page, and comes back. */
  async pay(card = '4242424242424242') {
    await this.page.waitForSelector('input[name=card]');
    await this.page.fill('input[name=card]', card);
    await this.page.click('form button:not([name=cancel]), form input[type=submit]');
    await this.page.waitForURL(/\/apps\/patient\/visits\//);
    await this.ready();
  }

  async status() {
    await this.ready();
    return this.page.locator('main section [data-tone]').first().innerText();
  }

  async leave() {
    await this.context.close();
    assert.deepEqual(this.complaints, []);
  }
}
