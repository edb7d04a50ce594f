/** What went wrong with a request, and what the person can do about it. */
import type { OperationOutcome, OperationOutcomeIssue } from 'fhir/r4';
import type { StepUp } from '../session/smart';

/** What helps. */
export type Remedy = 'retry' | 'reload' | 'sign-in' | 'prove' | 'wait' | 'correct' | 'none';

export class FhirFailure extends Error {
  /** The HTTP status; 0 when no answer came. */
  readonly status: number;
  readonly issues: OperationOutcomeIssue[];
  /** What must be proved anew for this request. */
  readonly stepUp: StepUp | undefined;
  /** Seconds until it is worth trying again. */
  readonly retryAfter: number | undefined;

  constructor(status: number, issues: OperationOutcomeIssue[] = [], more: { stepUp?: StepUp; retryAfter?: number } = {}) {
    super(issues.map(textOf).filter(Boolean).join(' ') || `HTTP ${status}`);
    this.name = 'FhirFailure';
    this.status = status;
    this.issues = issues;
    this.stepUp = more.stepUp;
    this.retryAfter = more.retryAfter;
  }

  /** The server's own sentences. */
  get sentences(): string[] {
    return this.issues.map(textOf).filter((text) => text !== '');
  }

  get remedy(): Remedy {
    return remedyFor(this.status, this.stepUp !== undefined);
  }
}

export function textOf(issue: OperationOutcomeIssue): string {
  return issue.details?.text ?? issue.diagnostics ?? '';
}

/** By status, since servers agree on these more than on issue codes. */
export function remedyFor(status: number, wantsProof = false): Remedy {
  if (wantsProof) return 'prove';
  switch (status) {
    case 401:
      return 'sign-in';
    case 400:
    case 413:
    case 415:
    case 422:
      return 'correct';
    case 409:
    case 412:
      return 'reload';
    case 429:
      return 'wait';
    case 402:
    case 403:
    case 404:
    case 405:
    case 410:
      return 'none';
    default:
      return 'retry';
  }
}

/** Reads a refusal. What is not an OperationOutcome, as a proxy's page, says nothing to people. */
export function failureOf(status: number, headers: Headers, body: string): FhirFailure {
  const retryAfter = Number(headers.get('retry-after')) || undefined;
  const stepUp = status === 401 || status === 403 ? challengeOf(headers.get('www-authenticate') ?? '') : undefined;
  return new FhirFailure(status, issuesOf(body), { ...(stepUp && { stepUp }), ...(retryAfter && { retryAfter }) });
}

function issuesOf(body: string): OperationOutcomeIssue[] {
  try {
    const outcome = JSON.parse(body) as Partial<OperationOutcome>;
    return outcome.resourceType === 'OperationOutcome' ? (outcome.issue ?? []) : [];
  } catch {
    return [];
  }
}

/** `Bearer error="insufficient_user_authentication", acr_values="…", max_age="…"` (RFC 9470). */
function challengeOf(header: string): StepUp | undefined {
  if (!/error="?insufficient_user_authentication/.test(header)) return undefined;
  const parameter = (name: string) => new RegExp(`${name}="?([^",]*)`).exec(header)?.[1];
  const maxAge = parameter('max_age');
  return { acrValues: parameter('acr_values'), maxAge: maxAge === undefined ? undefined : Number(maxAge) };
}

/** The failure in whatever was thrown. */
export function asFailure(error: unknown): FhirFailure {
  return error instanceof FhirFailure ? error : new FhirFailure(error instanceof TypeError ? 0 : 500);
}
