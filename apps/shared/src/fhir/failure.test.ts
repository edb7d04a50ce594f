import { describe, expect, it } from 'vitest';
import { asFailure, failureOf, FhirFailure } from './failure';

const outcome = (text: string) => JSON.stringify({ resourceType: 'OperationOutcome', issue: [{ severity: 'error', code: 'conflict', diagnostics: text }] });

describe('a refusal', () => {
  it('says what helps, by its status', () => {
    const remedies = [0, 401, 403, 404, 409, 412, 422, 429, 500, 503].map((status) => failureOf(status, new Headers(), '').remedy);
    expect(remedies).toEqual(['retry', 'sign-in', 'none', 'none', 'reload', 'reload', 'correct', 'wait', 'retry', 'retry']);
  });

  it('keeps the server’s sentences', () => {
    expect(failureOf(409, new Headers(), outcome('This time is taken.')).sentences).toEqual(['This time is taken.']);
  });

  it('does not show the page of a proxy', () => {
    expect(failureOf(502, new Headers(), '<h1>Bad gateway</h1>').sentences).toEqual([]);
  });

  it('knows what must be proved anew', () => {
    const headers = new Headers({ 'WWW-Authenticate': 'Bearer error="insufficient_user_authentication", acr_values="urn:x urn:y", max_age="300"' });
    const failure = failureOf(401, headers, '');
    expect(failure.remedy).toBe('prove');
    expect(failure.stepUp).toEqual({ acrValues: 'urn:x urn:y', maxAge: 300 });
    expect(failureOf(401, new Headers({ 'WWW-Authenticate': 'Bearer error="invalid_token"' }), '').stepUp).toBeUndefined();
  });

  it('says when to come back', () => {
    expect(failureOf(429, new Headers({ 'Retry-After': '7' }), '').retryAfter).toBe(7);
  });
});

it('takes a network that is gone for what it is', () => {
  expect(asFailure(new TypeError('Failed to fetch')).status).toBe(0);
  const failure = new FhirFailure(404);
  expect(asFailure(failure)).toBe(failure);
});
