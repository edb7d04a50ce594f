// Those who run the practice: what they find in the audit log, and what they change.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { complaintsAbout, picture } from './accessible.mjs';
import { DESKTOP, openBrowser, PHONE } from './browser.mjs';
import { patientIn } from './patient.mjs';
import { openPractice } from './practice.mjs';
import { practitionerIn } from './practitioner.mjs';

describe('an administrator', () => {
  let practice, browser, admin, page;
  before(async () => {
    practice = await openPractice();
    browser = await openBrowser();
    admin = await practitionerIn(browser, practice, { app: 'admin' });
    page = admin.page;
    await admin.signIn('admin@demo.example');
  });
  after(async () => {
    await admin?.leave();
    await browser?.close();
    await practice?.stop();
  });

  it('finds what became of a paid request in the audit log', async () => {
    const mateo = await patientIn(browser, practice);
    await mateo.signIn('mateo@demo.example');
    await mateo.open('/book');
    await mateo.page.click('article:has-text("Mira Bell") a:has-text("First visit")');
    await mateo.pickTime(4, 1);
    await mateo.tell('My knee');
    await mateo.page.click('button:has-text("Go on to pay")');
    await mateo.pay();
    const visit = /visits\/([^/?]+)/.exec(mateo.page.url())[1];

    const bell = await practitionerIn(browser, practice);
    await bell.signIn('bell@demo.example', '/requests');
    await bell
      .row('My knee')
      .getByRole('button', { name: /^More for/ })
      .click();
    await bell.page.getByRole('menuitem', { name: 'Decline' }).click();
    await bell.page.getByRole('dialog').getByLabel('A few words').fill('I am away that week.');
    await bell.confirm('Decline');
    await bell.said('Declined. Mateo Silva gets a message.');
    await mateo.page.waitForSelector('text=The practitioner had to decline');
    await mateo.page.waitForSelector('main >> text=Cancelled');
    await bell.leave();
    await mateo.leave();

    await admin.open('/trail');
    await page.getByLabel('Who did it').fill('Bell');
    await page.getByRole('button', { name: /Mira Bell/ }).click();
    await page.getByLabel('Whose record').fill('Silva');
    await page.getByRole('button', { name: /Mateo Silva/ }).click();
    await page.getByLabel('What was done').selectOption('change');
    const entry = page
      .locator('details')
      .filter({ hasText: `Appointment/${visit}` })
      .first();
    await entry.locator('summary').click();
    await entry.getByText('medconsult-practitioner').waitFor();
    assert.match(await entry.innerText(), /Dr\. Mira Bell changed/);
  });

  it('changes what a visit costs, and what the practice is called', async () => {
    await admin.open('/services');
    await page.getByRole('link', { name: /Specialist visit/ }).click();
    await page.getByLabel('Price').fill('95,5');
    await page.getByLabel('Minutes that a time is held').fill('10');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('At least 35 minutes').waitFor();
    await page.getByLabel('Minutes that a time is held').fill('45');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('€95.50').waitFor();
    await admin.open('/practice');
    const name = page.getByLabel('Name').first();
    await name.fill(`${await name.inputValue()} & Friends`);
    await page.getByRole('button', { name: 'Save' }).first().click();
    await admin.said('Saved');
    await page.getByRole('heading', { name: /& Friends/ }).waitFor();
  });

  it('adds a service', async () => {
    await admin.open('/services/new');
    await page.getByLabel('Name').fill('Second opinion');
    await page.getByLabel('When it is paid').selectOption('before-approval');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('An amount above zero').waitFor();
    await page.getByLabel('Price').fill('120');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('link', { name: /Second opinion.*€120\.00/ }).waitFor();
  });

  it('has screens that are accessible, on phones and desktops, in light and dark colours', async () => {
    const found = [];
    for (const [device, size] of [
      ['phone', PHONE],
      ['desktop', DESKTOP],
    ]) {
      await page.setViewportSize(size);
      for (const scheme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme: scheme });
        for (const [screen, at] of Object.entries({
          trail: '/trail',
          services: '/services',
          service: '/services/first-visit',
          practice: '/practice',
        })) {
          await admin.open(at);
          found.push(...(await complaintsAbout(page, `${screen} ${device} ${scheme}`)));
          await picture(page, `admin-${screen}-${device}-${scheme}`);
        }
      }
    }
    assert.deepEqual(found, []);
  });
});
