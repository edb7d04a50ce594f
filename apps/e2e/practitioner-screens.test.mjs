// Every main screen of the practitioner: nothing for axe to complain about, in both schemes, on a phone and a desktop.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { complaintsAbout, picture } from './accessible.mjs';
import { DESKTOP, openBrowser, PHONE } from './browser.mjs';
import { openPractice } from './practice.mjs';
import { practitionerIn } from './practitioner.mjs';

/** At most this much gzipped script before the first page is there. */
const MOST_SCRIPT = 200 * 1024;

describe('the screens of the practitioner', () => {
  let practice, browser;
  before(async () => {
    practice = await openPractice();
    browser = await openBrowser();
  });
  after(async () => {
    await browser?.close();
    await practice?.stop();
  });

  // One sign-in for all: each takes a code, and a code is good once in half a minute.
  it('are accessible, on phones and desktops, in light and dark colours', async () => {
    const bell = await practitionerIn(browser, practice);
    await bell.signIn('bell@demo.example');
    const { page } = bell;
    const {
      entry: [{ resource: nora }],
    } = await bell.fhir('GET', 'Patient?family=Lindqvist');
    const {
      entry: [{ resource: done }],
    } = await bell.fhir('GET', `Appointment?patient=Patient/${nora.id}&_tag=completed&_sort=-date`);
    const record = `/patients/${nora.id}`;
    const screens = {
      'today': '/',
      'requests': '/requests',
      'calendar': '/calendar',
      'hours': '/hours',
      'patients': '/patients',
      'chart': record,
      'timeline': `${record}/timeline`,
      'measurements': `${record}/observations`,
      'medicines': `${record}/medications`,
      'documents': `${record}/documents`,
      'prescribe': `${record}/prescribe`,
      'visit': `/visits/${done.id}`,
      'not-found': '/nowhere',
    };
    const found = [];
    for (const [device, size] of [
      ['phone', PHONE],
      ['desktop', DESKTOP],
    ]) {
      await page.setViewportSize(size);
      for (const scheme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme: scheme });
        for (const [screen, at] of Object.entries(screens)) {
          await bell.open(at);
          found.push(...(await complaintsAbout(page, `${screen} ${device} ${scheme}`)));
          await picture(page, `practitioner-${screen}-${device}-${scheme}`);
        }
        await bell.open('/requests');
        await bell.choose('Jonas Weber', 'Propose other times');
        await page.getByRole('dialog').getByRole('group').getByRole('button').first().waitFor();
        found.push(...(await complaintsAbout(page, `propose ${device} ${scheme}`)));
      }
    }
    assert.deepEqual(found, []);
    await bell.leave();
  });

  it('are there after at most 200 KB of script', async () => {
    const bell = await practitionerIn(browser, practice, { size: PHONE });
    await bell.signIn('bell@demo.example');
    const session = await bell.context.newCDPSession(bell.page);
    await session.send('Network.enable');
    await session.send('Network.setCacheDisabled', { cacheDisabled: true });
    let bytes = 0;
    const scripts = new Set();
    session.on('Network.responseReceived', ({ requestId, type }) => type === 'Script' && scripts.add(requestId));
    session.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => scripts.has(requestId) && (bytes += encodedDataLength));
    await bell.page.reload();
    await bell.ready();
    assert.ok(bytes > 10_000 && bytes <= MOST_SCRIPT, `${bytes} bytes of script in ${scripts.size} files`);
    await bell.leave();
  });
});
