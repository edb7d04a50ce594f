// A patient's way through the practice, from signing up to what is left when an app is shut out.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { openBrowser, PHONE } from './browser.mjs';
import { patientIn } from './patient.mjs';
import { doctorIn } from './doctor.mjs';
import { openPractice, told } from './practice.mjs';

/** That of the demo's accounts is one that nobody else may choose. */
const OWN = 'mangrove lantern quartz 41';

describe('a patient', () => {
  // A code of an authenticator app is good once: a practitioner signs in once.
  let practice, browser, bell;
  before(async () => {
    practice = await openPractice();
    browser = await openBrowser();
  });
  after(async () => {
    await browser?.close();
    await practice?.stop();
  });

  it('signs up, books on a phone, pays and is confirmed', async () => {
    const ada = await patientIn(browser, practice, { size: PHONE, timeZone: 'America/New_York' });
    const { page } = ada;
    const email = `ada.${Date.now()}@demo.example`;
    await page.goto(`${practice.url}/`);
    await page.click('text=Create an account');
    await page.fill('input[name=given]', 'Ada');
    await page.fill('input[name=family]', 'Byron');
    await page.fill('input[name=email]', email);
    await page.fill('input[name=password]', OWN);
    await page.click('form button');
    await page.goto(await linkIn(practice, email));
    await page.click('form button');
    await ada.signIn(email, OWN);
    assert.equal(await page.innerText('main h1'), 'Hello Ada');

    await page.click('nav >> text=Book');
    await ada.ready();
    assert.match(await page.innerText('main'), /Times in Eastern .*New York/);
    await page.getByLabel('Price').selectOption({ index: 2 });
    await page.click('article:has-text("Mira Bell") a:has-text("Quick question")');
    await ada.pickTime(2, 1);
    await page.waitForURL(/\/details$/);
    await ada.ready();
    // What is missing is said before anything is sent.
    await page.click('form button[type=submit]');
    await page.waitForSelector('text=2 answers are missing.');
    assert.equal(await page.evaluate(() => document.activeElement.tagName), 'TEXTAREA');
    await ada.tell('A rash on my arm');
    await page.click('button:has-text("Go on to pay €25.00")');
    // A card that is declined costs nothing but another try.
    await page.waitForSelector('input[name=card]');
    await page.fill('input[name=card]', '4000000000000002');
    await page.click('form button');
    await ada.pay();
    await page.waitForSelector('text=It is booked. See you then!');
    assert.equal(await ada.status(), 'Confirmed');
    assert.match(await page.innerText('main'), /€25\.00\s+Paid/);
    assert.match(await page.innerText('main'), /A rash on my arm/);

    const [file] = await Promise.all([page.waitForEvent('download'), page.click('text=Add to calendar')]);
    assert.equal(file.suggestedFilename(), 'visit.ics');
    await ada.open('/payments');
    await page.click('main ul a');
    await page.waitForSelector('text=Total');
    await ada.leave();
  });

  it('moves a visit, and sees it moved', async () => {
    const nora = await patientIn(browser, practice);
    await nora.signIn('nora@demo.example');
    const { page } = nora;
    await bookFollowUp(nora);
    const before = await page.innerText('main time >> nth=0');
    await page.click('text=Choose another time');
    await nora.pickTime(5, 2);
    await page.click('[role=dialog] >> text=Move it');
    await page.waitForSelector('text=Your visit has moved');
    await nora.ready();
    assert.notEqual(await page.innerText('main time >> nth=0'), before);
    assert.equal(await nora.status(), 'Confirmed');
    await nora.leave();
  });

  it('asks when it is too late to move alone, and takes that back', async () => {
    const yuki = await patientIn(browser, practice, { timeZone: 'Asia/Tokyo' });
    await yuki.signIn('yuki@demo.example');
    const { page } = yuki;
    // Dr. Bell's first free time is less than a day away: she sees people every day of the demo.
    await bookFollowUp(yuki, 0, 0);
    const before = await page.innerText('main section time >> nth=0');
    await page.click('text=Choose another time');
    await page.waitForSelector('text=has to agree to another time');
    await yuki.pickTime(2, 1);
    await page.click('[role=dialog] button:has-text("Ask")');
    await page.waitForSelector('text=You asked for another time');
    assert.equal(await page.innerText('main section:has-text("Follow-up") time >> nth=0'), before);
    await page.click('button:has-text("Withdraw the request")');
    await page.waitForSelector('text=You asked for another time', { state: 'detached' });
    await yuki.leave();
  });

  it('gets everything back when the practitioner declines, and sees it without loading anew', async () => {
    const mateo = await patientIn(browser, practice, { timeZone: 'America/Bogota' });
    await mateo.signIn('mateo@demo.example');
    const { page } = mateo;
    await mateo.open('/book');
    await page.click('article:has-text("Mira Bell") a:has-text("First visit")');
    await mateo.pickTime(3, 1);
    await mateo.tell('Headaches');
    await page.click('button:has-text("Go on to pay")');
    await mateo.pay();
    assert.equal(await mateo.status(), 'Waiting for approval');
    const visit = /visits\/([^/?]+)/.exec(page.url())[1];

    bell ??= await doctorIn(practice, 'bell@demo.example');
    await bell.answer(visit, 'declined', 'I am away that week.');
    await page.waitForSelector('text=The practitioner had to decline');
    assert.match(await page.innerText('main'), /I am away that week\./);
    await page.waitForSelector('main >> text=Cancelled');
    await mateo.leave();
  });

  it('adds a document and opens it', async () => {
    const nora = await patientIn(browser, practice);
    await nora.signIn('nora@demo.example');
    const { page } = nora;
    await nora.open('/documents');
    await page.setInputFiles('input[type=file]', { name: 'Lab results.txt', mimeType: 'text/plain', buffer: Buffer.from('Ferritin 12') });
    await page.setInputFiles('input[type=file]', { name: 'virus.exe', mimeType: 'application/x-msdownload', buffer: Buffer.from('MZ') });
    await page.waitForSelector('text=This kind of file cannot be added.');
    await page.click('button:has-text("Add 1 file")');
    await page.waitForSelector('main >> text=Added');
    await page.click('main li button:has-text("Lab results.txt")');
    await page.waitForSelector('[role=dialog] pre');
    assert.equal(await page.innerText('[role=dialog] pre'), 'Ferritin 12');
    const [file] = await Promise.all([page.waitForEvent('download'), page.click('[role=dialog] >> text=Download')]);
    assert.equal(file.suggestedFilename(), 'Lab results.txt');
    await nora.leave();
  });

  it('chooses another time when the practitioner is away', async () => {
    const nora = await patientIn(browser, practice);
    await nora.signIn('nora@demo.example');
    const { page } = nora;
    await bookFollowUp(nora, 4);
    const visit = /visits\/([^/?]+)/.exec(page.url())[1];
    bell ??= await doctorIn(practice, 'bell@demo.example');
    await bell.leaveDuring(visit);
    // What is offered comes to the patient by itself, here and at the start.
    await page.waitForSelector('text=Other times are offered');
    await page.click('nav >> text=Home');
    await page.click('main a:has-text("Look at them")');
    const offer = page.locator('main li:has(button:has-text("Take this"))').first();
    const offered = await offer.locator('time').getAttribute('datetime');
    await offer.locator('button').click();
    await page.waitForSelector('text=Your visit has moved');
    await page.waitForFunction((offered) => Date.parse(document.querySelector('main section time').dateTime) === Date.parse(offered), offered);
    assert.equal(await nora.status(), 'Confirmed');
    await nora.leave();
  });

  it('keeps the sheet of a prescription', async () => {
    const nora = await patientIn(browser, practice);
    await nora.signIn('nora@demo.example');
    const { page } = nora;
    await nora.open('/prescriptions');
    const [file] = await Promise.all([page.waitForEvent('download'), page.click('section:has-text("Ramipril") button:has-text("Download PDF")')]);
    assert.match(file.suggestedFilename(), /^Prescription of .*\.pdf$/);
    assert.equal(fs.readFileSync(await file.path()).subarray(0, 5).toString(), '%PDF-');
    // And whoever wrote it stands among those who have been at the record.
    await nora.open('/access');
    await page.waitForSelector('main [role=listitem] >> text=Dr. Mira Bell');
    await nora.leave();
  });

  it('sees on one screen what was done on another', async () => {
    const phone = await patientIn(browser, practice, { size: PHONE });
    const desk = await patientIn(browser, practice);
    await phone.signIn('nora@demo.example');
    await desk.signIn('nora@demo.example');
    await phone.open('/visits');
    await phone.page.waitForSelector('main ul li');
    const cards = () => phone.page.locator('main ul li').count();
    const before = await cards();
    await bookFollowUp(desk, 3);
    await phone.page.waitForFunction((before) => document.querySelectorAll('main ul li').length === before + 1, before);
    await desk.page.click('button:has-text("Cancel the visit")');
    await desk.page.click('[role=dialog] button:has-text("Cancel the visit")');
    await phone.page.waitForFunction((before) => document.querySelectorAll('main ul li').length === before, before);
    await phone.leave();
    await desk.leave();
  });

  it('shuts an app out, which then has nothing left', async () => {
    const yuki = await patientIn(browser, practice, { timeZone: 'Asia/Tokyo' });
    await yuki.signIn('yuki@demo.example');
    const { page } = yuki;
    const account = await yuki.context.newPage();
    await account.goto(`${practice.url}/auth/account`);
    await account.click('li:has-text("MedConsult") button:has-text("Take its access away")');
    await account.waitForSelector('text=There are none.');
    await page.click('nav >> text=Documents');
    await page.waitForSelector('text=Your session has ended');
    assert.equal(await page.evaluate(() => JSON.stringify(sessionStorage).includes('access_token')), false);
    await yuki.leave();
  });

  it('signs out of the app, and comes back without being asked again', async () => {
    const yuki = await patientIn(browser, practice, { timeZone: 'Asia/Tokyo' });
    await yuki.signIn('yuki@demo.example');
    const { page } = yuki;
    await page.click('header button');
    await page.click('[role=menuitem]:has-text("Sign out")');
    await page.waitForSelector('text=You have signed out');
    await page.click('button:has-text("Sign in")');
    await yuki.ready();
    assert.match(await page.innerText('main h1'), /^Hello/);
    await yuki.leave();
  });
});

async function bookFollowUp(patient, nth = 1, weeks = 1) {
  const { page } = patient;
  await patient.open('/book');
  await page.click('article:has-text("Mira Bell") a:has-text("Follow-up")');
  await patient.pickTime(nth, weeks);
  await patient.tell('How it goes');
  await page.click('button:has-text("Book this visit")');
  await page.waitForSelector('text=It is booked. See you then!');
}

/** The link of the first mail to somebody, once it is there. */
async function linkIn(practice, email) {
  for (let tries = 0; tries < 100; tries += 1) {
    const mails = await told(practice, `mails.json?to=${encodeURIComponent(email)}`).catch(() => []);
    const link = mails.map((mail) => /https?:\/\/\S+\/auth\/confirm\S+/.exec(mail.text)?.[0]).find(Boolean);
    if (link) return link;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`No mail to ${email}.`);
}
