// Every main screen: nothing for axe to complain about, in both schemes, on a phone and a desktop. With SCREENSHOTS=1 the
// pictures in docs/screenshots are made anew.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { complaintsAbout, picture } from './accessible.mjs';
import { DESKTOP, openBrowser, PHONE } from './browser.mjs';
import { patientIn } from './patient.mjs';
import { openPractice } from './practice.mjs';

const SCREENS = {
  home: '/',
  find: '/book',
  visits: '/visits',
  'visits-past': '/visits?shows=past',
  documents: '/documents',
  record: '/timeline',
  prescriptions: '/prescriptions',
  payments: '/payments',
  access: '/access',
  settings: '/settings',
  'not-found': '/nowhere',
};
/** Those that are shown. */
const PICTURES = ['home', 'find', 'visits', 'documents', 'record', 'prescriptions', 'payments', 'access'];

describe('the screens of the patient', () => {
  let practice, browser;
  before(async () => {
    practice = await openPractice();
    browser = await openBrowser();
  });
  after(async () => {
    await browser?.close();
    await practice?.stop();
  });

  for (const [name, size, scheme] of [['phone', PHONE, 'light'], ['phone', PHONE, 'dark'], ['desktop', DESKTOP, 'light'], ['desktop', DESKTOP, 'dark']]) {
    it(`are accessible on a ${name} in ${scheme} colours`, async () => {
      const nora = await patientIn(browser, practice, { size, scheme });
      await nora.signIn('nora@demo.example');
      const found = [];
      const check = async (screen) => found.push(...(await complaintsAbout(nora.page, screen)));
      for (const [screen, at] of Object.entries(SCREENS)) {
        await nora.open(at);
        await check(screen);
        if (PICTURES.includes(screen)) await picture(nora.page, `patient-${screen}-${name}-${scheme}`);
      }
      await nora.open('/book');
      await nora.page.click('article a >> nth=0');
      await nora.page.waitForSelector('fieldset ul button');
      await nora.ready();
      await check('times');
      await picture(nora.page, `patient-times-${name}-${scheme}`);
      await nora.page.click('fieldset ul button >> nth=-1');
      await nora.page.waitForURL(/\/details$/);
      await nora.ready();
      await nora.page.click('form button[type=submit]');
      await check('details');
      await picture(nora.page, `patient-details-${name}-${scheme}`);
      await nora.page.goto(nora.page.url().replace(/\/details$/, ''));
      await nora.ready();
      await nora.page.click('text=Let the time go');
      await nora.page.waitForURL(/\/visits$/);
      await nora.open('/visits');
      await nora.page.click('main ul a >> nth=0');
      await nora.ready();
      await check('visit');
      await picture(nora.page, `patient-visit-${name}-${scheme}`);
      await nora.page.click('button:has-text("Cancel the visit")');
      await nora.page.waitForSelector('[role=dialog] select');
      await nora.page.waitForTimeout(300);
      await check('cancelling');
      await nora.page.click('text=Keep it');
      assert.deepEqual(found, []);
      await nora.leave();
    });
  }

  it('can be used with the keyboard alone', async () => {
    const nora = await patientIn(browser, practice);
    await nora.signIn('nora@demo.example');
    const { page } = nora;
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the content');
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(() => location.hash), '#content');
    // The menu opens, is walked through and closes again, and the focus is where it was.
    await page.locator('header button').focus();
    await page.keyboard.press('Enter');
    await page.waitForSelector('[role=menu]');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Escape');
    await page.waitForSelector('[role=menu]', { state: 'detached' });
    assert.match(await page.evaluate(() => document.activeElement.getAttribute('aria-label')), /^Account/);
    await nora.leave();
  });

  it('say so while there is no connection', async () => {
    const nora = await patientIn(browser, practice);
    await nora.signIn('nora@demo.example');
    await nora.context.setOffline(true);
    await nora.page.waitForSelector('text=You are offline');
    await nora.context.setOffline(false);
    await nora.page.waitForSelector('text=You are offline', { state: 'detached' });
    await nora.leave();
  });

  it('are there after at most 200 KB of script', async () => {
    const nora = await patientIn(browser, practice, { size: PHONE });
    await nora.signIn('nora@demo.example');
    const session = await nora.context.newCDPSession(nora.page);
    await session.send('Network.enable');
    await session.send('Network.setCacheDisabled', { cacheDisabled: true });
    let bytes = 0;
    const scripts = new Set();
    session.on('Network.responseReceived', ({ requestId, type }) => type === 'Script' && scripts.add(requestId));
    session.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => scripts.has(requestId) && (bytes += encodedDataLength));
    await nora.page.reload();
    await nora.ready();
    assert.ok(scripts.size > 0 && bytes > 10_000, `${scripts.size} scripts, ${bytes} bytes`);
    assert.ok(bytes <= 200 * 1024, `${bytes} bytes of script`);
    await nora.leave();
  });
});
