import { expect, it } from 'vitest';
import { writeBytes, writeMoney } from './money';

it('writes amounts with the digits of their currency', () => {
  expect(writeMoney({ value: 60, currency: 'EUR' }, 'en')).toBe('€60.00');
  expect(writeMoney({ value: 6000, currency: 'JPY' }, 'en')).toBe('¥6,000');
  expect(writeMoney({ value: 1.5, currency: 'KWD' }, 'en')).toMatch(/^KWD\s1\.500$/);
  expect(writeMoney({ value: 12.5 }, 'de')).toBe('12,5');
  expect(writeMoney(undefined, 'en')).toBe('');
});

it('writes sizes', () => {
  expect(writeBytes(0, 'en')).toBe('0 byte');
  expect(writeBytes(1_400_000, 'en')).toBe('1.4 MB');
  expect(writeBytes(200_000_000, 'en')).toBe('200 MB');
});
