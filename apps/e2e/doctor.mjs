// A practitioner without a browser: signs in by the server's forms, lets the demo's own client in, and speaks FHIR.
import { createHash, randomBytes } from 'node:crypto';
import { codeOf, PASSWORD, told } from './practice.mjs';

const BACK = 'http://127.0.0.1:9/callback';

export async function doctorIn(practice, email) {
  const visitor = new Visitor(practice.url);
  await visitor.open('/auth/sign-in');
  await visitor.submit('/auth/sign-in', { email, password: PASSWORD });
  const { authenticator } = await told(practice, 'accounts.json');
  const key = authenticator?.secret ?? authenticator ?? '';
  await visitor.open('/auth/second-factor');
  await visitor.submit('/auth/second-factor', { code: codeOf(key) });
  const verifier = randomBytes(32).toString('base64url');
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: 'demo',
    redirect_uri: BACK,
    scope: 'openid fhirUser user/*.cruds',
    state: 's',
    aud: `${practice.url}/fhir`,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  });
  const page = await visitor.open(`/auth/authorize?${query}`);
  const request = /name="request" value="([^"]+)"/.exec(page.text)?.[1];
  const scopes = [...page.text.matchAll(/name="scope" value="([^"]+)"/g)].map((match) => match[1]);
  const decided = await visitor.submit('/auth/consent', { request, decision: 'allow' }, scopes);
  const code = new URL(decided.location).searchParams.get('code');
  const body = new URLSearchParams({ grant_type: 'authorization_code', code, redirect_uri: BACK, client_id: 'demo', code_verifier: verifier });
  const answer = await (await fetch(`${practice.url}/auth/token`, { method: 'POST', body })).json();
  if (!answer.access_token) throw new Error(`No token for ${email}: ${JSON.stringify(answer)}`);
  return new Doctor(practice, answer.access_token);
}

class Doctor {
  constructor(practice, token) {
    Object.assign(this, { practice, token });
  }

  async fhir(method, path, body) {
    const answer = await fetch(`${this.practice.url}/fhir/${path}`, {
      method,
      headers: { 'Authorization': `Bearer ${this.token}`, 'Content-Type': 'application/fhir+json' },
      ...(body && { body: JSON.stringify(body) }),
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  }

  /** Is away while this visit would be: the server offers other times. */
  async leaveDuring(visit) {
    const { start, end, slot } = await this.fhir('GET', `Appointment/${visit}`);
    const { schedule } = await this.fhir('GET', slot[0].reference);
    return this.fhir('POST', `${schedule.reference}/$block`, {
      resourceType: 'Parameters',
      parameter: [{ name: 'start', valueDateTime: start }, { name: 'end', valueDateTime: end }, { name: 'comment', valueString: 'A conference' }],
    });
  }

  /** Approves or declines a visit. */
  async answer(visit, participantStatus, comment) {
    const { participant } = await this.fhir('GET', `Appointment/${visit}`);
    const actor = participant.map((each) => each.actor).find((each) => each.reference.startsWith('Practitioner/'));
    return this.fhir('POST', 'AppointmentResponse', {
      resourceType: 'AppointmentResponse',
      meta: { profile: ['https://medconsult.example/fhir/StructureDefinition/appointment-response'] },
      appointment: { reference: `Appointment/${visit}` },
      actor: { reference: actor.reference },
      participantStatus,
      comment,
    });
  }
}

/** Follows links and fills in forms, with cookies. */
class Visitor {
  cookies = new Map();
  token = '';

  constructor(url) {
    this.url = url;
  }

  open(path) {
    return this.send(path, { method: 'GET' });
  }

  submit(path, fields, scopes = []) {
    const body = new URLSearchParams({ form_token: this.token, ...fields });
    for (const scope of scopes) body.append('scope', scope);
    return this.send(path, { method: 'POST', body });
  }

  async send(path, init) {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const answer = await fetch(`${this.url}${path}`, { ...init, redirect: 'manual', headers: { cookie } });
    for (const set of answer.headers.getSetCookie()) {
      const [name, value] = set.split(';')[0].split(/=(.*)/s);
      this.cookies.set(name, value);
    }
    const text = await answer.text();
    this.token = /name="form_token" value="([^"]+)"/.exec(text)?.[1] ?? this.token;
    return { status: answer.status, location: answer.headers.get('location') ?? '', text };
  }
}
