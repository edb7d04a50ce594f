import { expect, it } from 'vitest';
import { formOf, guessCategory, LARGEST, objectionTo } from './upload';

it('objects before anything is sent', () => {
  expect(objectionTo({ size: 0, type: 'application/pdf' })).toBe('empty');
  expect(objectionTo({ size: LARGEST + 1, type: 'application/pdf' })).toBe('large');
  expect(objectionTo({ size: 9, type: 'application/x-msdownload' })).toBe('type');
  expect(objectionTo({ size: 9, type: 'image/jpeg' })).toBeUndefined();
});

it('guesses what a file is by its name', () => {
  expect(['Blood count.pdf', 'MRI knee.png', 'Überweisung.pdf', 'holiday.jpg'].map(guessCategory)).toEqual(['lab-report', 'imaging', 'referral', 'other']);
});

it('sends the file last', () => {
  const form = formOf(new File(['x'], 'a.txt', { type: 'text/plain' }), 'other');
  expect([...form.keys()]).toEqual(['category', 'type', 'title', 'file']);
  expect(form.get('title')).toBe('a.txt');
});
