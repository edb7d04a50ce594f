// A practitioner's day, from the request to the signed note.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { openBrowser } from './browser.mjs';
import { openPractice } from './practice.mjs';
import { practitionerIn } from './practitioner.mjs';

describe('a practitioner', () => {
  let practice, browser, bell, page;
  before(async () => {
    practice = await openPractice();
    browser = await openBrowser();
    bell = await practitionerIn(browser, practice);
    page = bell.page;
    await bell.signIn('bell@demo.example');
  });
  after(async () => {
    await bell?.leave();
    await browser?.close();
    await practice?.stop();
  });

  const go = async (place) => {
    await page.getByRole('navigation').getByRole('link', { name: place }).click();
    await bell.ready();
  };
  /** The Appointment as the server has it. */
  const visitOf = async (family, query) =>
    (await bell.fhir('GET', `Appointment?patient.family=${family}&${query}`)).entry?.map(({ resource }) => resource) ?? [];

  it('approves a request', async () => {
    await go('Requests');
    await page.getByRole('button', { name: 'Approve: Lena Hoffmann' }).click();
    await bell.said('Approved. Lena Hoffmann gets a message.');
    await page.getByRole('button', { name: 'Approve: Lena Hoffmann' }).waitFor({ state: 'detached' });
    const [visit] = await visitOf('Hoffmann', `_tag=approved&date=gt${new Date().toISOString()}`);
    assert.equal(visit.status, 'booked');
  });

  it('proposes other times, and takes them back', async () => {
    await go('Requests');
    await bell.choose('Jonas Weber', 'Propose other times');
    const times = page.getByRole('dialog').getByRole('group', { name: 'Free times' }).getByRole('button');
    await times.nth(2).click();
    await times.nth(5).click();
    await bell.confirm('Propose 2 times');
    const row = bell.row('Jonas Weber');
    await row.getByText('2 other times proposed').waitFor();
    await row.getByRole('button', { name: 'Take back' }).click();
    await row.getByText('2 other times proposed').waitFor({ state: 'detached' });
    const [visit] = await visitOf('Weber', '_tag=requested');
    assert.equal(visit.status, 'pending', 'the request stays where it was');
  });

  it('moves a visit as its patient asked', async () => {
    await go('Requests');
    const [before] = await visitOf('Silva', `_tag=approved&date=gt${new Date().toISOString()}&_sort=date`);
    await page.getByRole('button', { name: /^Move to/ }).click();
    await bell.said('Moved. Mateo Silva gets a message.');
    const moved = await bell.fhir('GET', `Appointment/${before.id}`);
    assert.notEqual(moved.start, before.start);
    assert.equal(moved.status, 'booked');
  });

  it('declines a request, and says why', async () => {
    await go('Requests');
    await bell.choose('Mateo Silva', 'Decline');
    await page.getByRole('dialog').getByLabel('A few words to Mateo Silva').fill('Please see a lung specialist first.');
    await bell.confirm('Decline');
    await bell.said('Declined. Mateo Silva gets a message.');
    const [visit] = await visitOf('Silva', '_tag=rejected');
    assert.equal(visit.status, 'cancelled');
  });

  it('moves visits by dragging, and by keys', async () => {
    const monday = new Date(Date.now() + 14 * 86_400_000);
    const visit = await bell.book('Farouk', 'follow-up', monday);
    const day = visit.start.slice(0, 10);
    await bell.open(`/calendar?view=week&day=${day}`);
    const block = () => page.getByRole('group', { name: 'Visits by day and hour' }).getByRole('button', { name: /Omar Farouk/ });
    await block().scrollIntoViewIfNeeded();
    const from = await block().boundingBox();
    await page.mouse.move(from.x + 20, from.y + 8);
    await page.mouse.down();
    await page.mouse.move(from.x + 24, from.y + 40, { steps: 4 });
    // Free times are asked for when the drag begins; the one under the pointer shows.
    const target = page.locator('[data-chosen]');
    await assert.doesNotReject(async () => {
      for (let way = 40; way < 600 && (await target.count()) === 0; way += 10) {
        await page.mouse.move(from.x + 24, from.y + (way % 300));
        await page.waitForTimeout(50);
      }
      await target.waitFor({ timeout: 2000 });
    });
    await page.mouse.up();
    await bell.confirm('Move visit');
    const dragged = await bell.fhir('GET', `Appointment/${visit.id}`);
    assert.notEqual(dragged.start, visit.start);

    await block().focus();
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Move in the calendar' }).click();
    await page.locator('[id^=to-]:focus').waitFor();
    const first = await page.evaluate(() => document.activeElement.textContent);
    await page.keyboard.press('ArrowDown');
    assert.notEqual(await page.evaluate(() => document.activeElement.textContent), first);
    await page.keyboard.press('Enter');
    await bell.confirm('Move visit');
    assert.notEqual((await bell.fhir('GET', `Appointment/${visit.id}`)).start, dragged.start);
  });

  it('changes the hours of a day, and takes time off', async () => {
    await bell.open('/hours');
    await page.getByRole('button', { name: 'Add a day' }).click();
    const day = new Date(Date.now() + 40 * 86_400_000).toISOString().slice(0, 10);
    await page.getByLabel('Day', { exact: true }).last().fill(day);
    await page.getByRole('button', { name: 'Save' }).click();
    await bell.said('Saved');
    assert.ok(JSON.stringify(await bell.fhir('GET', 'Schedule/bell')).includes(`"valueDate":"${day}"`));

    await page.getByRole('button', { name: 'Time off' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('From', { exact: true }).fill(day);
    await dialog.getByLabel('What for').fill('A conference');
    await dialog.getByRole('button', { name: 'See what it hits' }).click();
    await dialog.getByText('No visit lies in it.').waitFor();
    await bell.confirm('Take it off');
    const absence = page
      .locator('div')
      .filter({ hasText: 'A conference' })
      .filter({ has: page.getByRole('button', { name: 'Work after all' }) })
      .last();
    await absence.getByRole('button').click();
    await bell.said('This time can be booked again.');
    await page.getByText('A conference').waitFor({ state: 'detached' });
  });

  it('writes the note of a visit while it takes place, and signs it', async () => {
    const visit = await bell.book('Lindqvist', 'follow-up');
    await bell.fhir('PUT', `Appointment/${visit.id}`, { ...visit, status: 'arrived' });
    await bell.open(`/visits/${visit.id}`);
    await page.getByRole('button', { name: /^Start visit/ }).click();
    await page.getByLabel('Subjective').fill('Headache for two days, with nausea.\nNo aura.');
    await page.getByText('Kept as a draft').waitFor();
    await page.reload();
    await bell.ready();
    assert.equal(await page.getByLabel('Subjective').inputValue(), 'Headache for two days, with nausea.\nNo aura.');
    await page.getByRole('button', { name: 'Sign note' }).click();
    await bell.confirm('Sign note');
    await page.getByText('Signed', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Finish visit' }).click();
    await bell.said('The visit is finished.');
    const {
      entry: [{ resource: encounter }],
    } = await bell.fhir('GET', `Encounter?appointment=Appointment/${visit.id}`);
    const {
      entry: [{ resource: note }],
    } = await bell.fhir('GET', `Composition?encounter=Encounter/${encounter.id}`);
    assert.deepEqual([encounter.status, note.status, note.attester?.[0]?.mode], ['finished', 'final', 'professional']);
    assert.equal((await bell.fhir('GET', `Appointment/${visit.id}`)).status, 'fulfilled');
  });

  it('prescribes, proves who signs, and downloads the sheet', async () => {
    const {
      entry: [{ resource: nora }],
    } = await bell.fhir('GET', 'Patient?family=Lindqvist');
    await bell.open(`/patients/${nora.id}/prescribe`);
    await page.getByRole('combobox', { name: /^Medicine/ }).fill('Amoxicillin 500 mg capsules');
    await page.getByRole('combobox', { name: /^Unit/ }).fill('capsule');
    await page.getByLabel('Times a day').fill('3');
    await page.getByLabel('For days').fill('7');
    await page.getByText('21 are needed').waitFor();
    await page.getByRole('button', { name: 'Check and review' }).click();

    // She is allergic to penicillin: nothing is signed without a reason.
    await page.getByText('is one of the penicillins').waitFor();
    await page.getByRole('button', { name: 'Sign the prescription' }).click();
    await page.getByText('This needs a reason before you can sign.').first().waitFor();
    const reasons = page.getByLabel('Why you prescribe it all the same');
    for (let at = 0; at < (await reasons.count()); at += 1) await reasons.nth(at).fill('Tolerated twice under watch.');

    // The proof of signing in counts for five minutes: the server's refusal is played once, the rest is real.
    const challenge = 'Bearer error="insufficient_user_authentication", acr_values="https://refeds.org/profile/mfa phr", max_age="1"';
    await page.route(
      '**/MedicationRequest/$sign',
      (route) => route.fulfill({ status: 401, headers: { 'WWW-Authenticate': challenge }, body: '{}' }),
      { times: 1 },
    );
    await page.getByRole('button', { name: 'Sign the prescription' }).click();
    await bell.proveAnew();
    await page.getByRole('button', { name: 'Sign the prescription' }).waitFor();
    assert.equal(await reasons.first().inputValue(), 'Tolerated twice under watch.');
    await page.getByRole('button', { name: 'Sign the prescription' }).click();
    await page.getByRole('heading', { name: 'Signed' }).waitFor();
    const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download the PDF' }).click()]);
    assert.equal(
      fs
        .readFileSync(await download.path())
        .subarray(0, 5)
        .toString(),
      '%PDF-',
    );
    const { entry } = await bell.fhir('GET', `MedicationRequest?patient=Patient/${nora.id}&status=active&_sort=-authoredon`);
    assert.equal(entry[0].resource.medicationCodeableConcept.text, 'Amoxicillin 500 mg capsules');
  });

  it('finds a patient and looks through the record', async () => {
    await go('Patients');
    await page.getByLabel('Find a patient').fill('lindq');
    await page.getByRole('link', { name: /Nora Lindqvist/ }).click();
    await bell.ready();
    await page.getByText('Allergy: Penicillin').waitFor();
    await page.getByRole('tab', { name: 'Measurements' }).click();
    await page
      .getByRole('img', { name: /a curve from/ })
      .first()
      .waitFor();
    await page.getByRole('tab', { name: 'Timeline' }).click();
    await page.getByLabel('Words').fill('no such thing anywhere');
    await page.getByText('Nothing like that').waitFor();
    await page.getByRole('tab', { name: 'Documents' }).click();
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page
        .getByRole('button', { name: /^Download/ })
        .first()
        .click(),
    ]);
    assert.ok(fs.statSync(await download.path()).size > 0);
  });

  it('is let in again with the same address in mind', async () => {
    const {
      entry: [{ resource: nora }],
    } = await bell.fhir('GET', 'Patient?family=Lindqvist');
    await page.evaluate(() => sessionStorage.clear());
    await page.goto(bell.app(`/patients/${nora.id}/medications`));
    await page.waitForURL(new RegExp(`/patients/${nora.id}/medications$`));
    await bell.ready();
  });

  it('opens the app from within MedConsult, about a patient', async () => {
    await page.goto(`${practice.url}/auth/apps`);
    await page.getByRole('link', { name: 'MedConsult for practitioners' }).click();
    await page.getByRole('button', { name: 'Open it' }).click();
    await page.getByRole('searchbox').fill('Lindqvist');
    await page.getByRole('button', { name: 'Search' }).click();
    await page.getByRole('button', { name: /Lindqvist/ }).click();
    // A visit may be chosen as well; without one it is about the patient alone.
    const without = page.getByRole('button', { name: /without|none|no visit/i });
    await Promise.race([without.waitFor().then(() => without.click()), page.waitForURL(/\/apps\/practitioner\/patients\//)]);
    await page.waitForURL(/\/apps\/practitioner\/patients\/[^/]+$/);
    await bell.ready();
    await page.getByRole('heading', { name: 'Nora Lindqvist' }).waitFor();
  });
});
