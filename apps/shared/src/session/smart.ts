/**
 * Signing in, by SMART App Launch: discovery, authorize, token with PKCE, all of it by fhirclient.
 *
 * The token lives in this tab's session storage and ends with it. A launch by an EHR (`?iss=…&launch=…`) and one by the person
 * alone take the same way.
 */
import 'fhirclient/build/fhir-client.pure.min.js';
import type Client from 'fhirclient/lib/Client';
import type { fhirclient } from 'fhirclient/lib/types';

type Smart = fhirclient.SMART;
const { oauth2 } = (window as unknown as { FHIR: { oauth2: Smart } }).FHIR;

/** What an app is to the server. */
export interface AppRegistration {
  /** Its id among the server's clients. */
  clientId: string;
  /** What it asks for when a person opens it. */
  scope: string;
}

/** What the person must prove again before the server does something (RFC 9470). */
export interface StepUp {
  acrValues?: string | undefined;
  maxAge?: number | undefined;
}

/**
 * The address that the page was loaded from. fhirclient keeps it, too, and takes an `iss` in it for the server to go to; but
 * where the person came back from signing in, that is the name of the authorization server (RFC 9207).
 */
const loadedFrom = new URL(location.href);

const RETURN_TO = 'medconsult.return-to';
/** Holds what to ask for after the page has been loaded once more. */
const AGAIN = 'medconsult.sign-in-again';
const SIGNED_OUT = 'medconsult.signed-out';

/** The FHIR server that the app belongs to: the one it came from, unless its page names another. */
export function homeServer(): string {
  const named = document.querySelector<HTMLMetaElement>('meta[name="fhir-server"]')?.content;
  return new URL(named || '/fhir', location.href).href;
}

const home = () => new URL(import.meta.env.BASE_URL, location.href).href;

export interface SignInOptions {
  /** A path of the app, with its base. */
  returnTo?: string;
  stepUp?: StepUp;
}

/** Leaves for the server's sign-in. Afterwards the person is where they are now, or at `returnTo`, a path of the app. */
export async function signIn(app: AppRegistration, options: SignInOptions = {}): Promise<never> {
  const { pathname, search, hash, searchParams } = new URL(location.href);
  const launch = searchParams.get('launch');
  if (!launch && loadedFrom.searchParams.has('iss')) {
    sessionStorage.setItem(AGAIN, JSON.stringify({ returnTo: pathname + search + hash, ...options }));
    location.replace(import.meta.env.BASE_URL);
    return new Promise<never>(() => undefined);
  }
  const here = launch || searchParams.has('code') || searchParams.has('error') ? import.meta.env.BASE_URL : pathname + search + hash;
  sessionStorage.setItem(RETURN_TO, options.returnTo ?? here);
  sessionStorage.removeItem(SIGNED_OUT);
  const scope = launch ? `launch ${app.scope}` : app.scope.replace(/\blaunch\b(?!\/)\s*/, '');
  const address = await oauth2.authorize({
    clientId: app.clientId,
    scope,
    redirectUri: home(),
    iss: searchParams.get('iss') ?? homeServer(),
    ...(launch ? { launch } : {}),
    pkceMode: 'required',
    noRedirect: true,
  });
  const target = new URL(address as string);
  const { acrValues, maxAge } = options.stepUp ?? {};
  if (acrValues) target.searchParams.set('acr_values', acrValues);
  if (maxAge !== undefined) target.searchParams.set('max_age', String(maxAge));
  location.assign(target);
  // The page is about to go: nothing that waits for this goes on.
  return new Promise<never>(() => undefined);
}

/** Whether the address says that this page was opened to be signed in: by an EHR, or back from the server. */
export function isLaunch(url: URL): boolean {
  return url.searchParams.has('launch') || (url.searchParams.has('state') && (url.searchParams.has('code') || url.searchParams.has('error')));
}

/**
 * The session of this tab, if there is one.
 *
 * @throws when the server refused, or the answer does not belong to a question of this tab.
 */
export async function resume(app: AppRegistration): Promise<Client | undefined> {
  const url = new URL(location.href);
  if (url.searchParams.has('launch')) return signIn(app);
  const again = sessionStorage.getItem(AGAIN);
  if (again) {
    sessionStorage.removeItem(AGAIN);
    return signIn(app, JSON.parse(again) as SignInOptions);
  }
  const isBack = isLaunch(url);
  if (!isBack && !sessionStorage.getItem('SMART_KEY')) return undefined;
  try {
    const client = await oauth2.ready();
    if (isBack) history.replaceState(null, '', sessionStorage.getItem(RETURN_TO) ?? import.meta.env.BASE_URL);
    return client.getState('tokenResponse.access_token') ? client : undefined;
  } catch (error) {
    if (!isBack) {
      forget();
      return undefined;
    }
    history.replaceState(null, '', import.meta.env.BASE_URL);
    throw error;
  }
}

/** Whether the person left on purpose, so that the app does not take them straight back to the server's sign-in. */
export const hasSignedOut = (): boolean => sessionStorage.getItem(SIGNED_OUT) !== null;

/** Ends the app's access and forgets the token. The browser stays signed in to the server itself. */
export async function signOut(client: Client): Promise<void> {
  const { access_token, refresh_token } = (client.getState('tokenResponse') ?? {}) as fhirclient.TokenResponse;
  const token = refresh_token ?? access_token;
  try {
    const endpoint = (await discover(client.state.serverUrl)).revocation_endpoint;
    if (endpoint && token) {
      const body = new URLSearchParams({ token, client_id: client.state.clientId ?? '' });
      await fetch(endpoint, { method: 'POST', body });
    }
  } finally {
    forget();
    sessionStorage.setItem(SIGNED_OUT, 'yes');
  }
}

/** Forgets what this tab knows of a session. */
export function forget(): void {
  const key = sessionStorage.getItem('SMART_KEY');
  if (key) sessionStorage.removeItem(JSON.parse(key) as string);
  sessionStorage.removeItem('SMART_KEY');
}

/** What the server says about itself that apps use. */
export interface Discovery {
  revocation_endpoint?: string;
  /** Where people manage what they allowed, their factors and their password. */
  management_endpoint?: string;
}

let discovered: Promise<Discovery> | undefined;

export function discover(server: string): Promise<Discovery> {
  discovered ??= fetch(`${server.replace(/\/$/, '')}/.well-known/smart-configuration`, { headers: { Accept: 'application/json' } }).then((answer) => {
    if (!answer.ok) throw new Error(`discovery: ${answer.status}`);
    return answer.json() as Promise<Discovery>;
  });
  discovered.catch(() => (discovered = undefined));
  return discovered;
}
