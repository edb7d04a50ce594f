/** Who is signed in, for all components below. */
import { createContext, useContext } from 'react';
import type { FhirClient } from '../fhir/client';
import type { StepUp } from './smart';

export interface Session {
  /** The server's FHIR base. */
  server: string;
  fhir: FhirClient;
  /** Whom the token stands for: `Patient/7`, `Practitioner/7`. */
  user: { reference: string; type: string; id: string };
  /** The patient whom the session is about, by their id. */
  patient: string | undefined;
  encounter: string | undefined;
  intent: string | undefined;
  /** Whether the app itself must show whom it is about; else who launched it does. */
  needsPatientBanner: boolean;
  scopes: readonly string[];
  /** Where the server lets people manage their account; its pages, not ours. */
  accountPages: string;
  /** The access token, for the server's endpoints beside FHIR. */
  token(): Promise<string | undefined>;
  signOut(): Promise<void>;
  /** Has the person prove anew who they are, and comes back to this place or `returnTo`. */
  stepUp(wanted: StepUp, returnTo?: string): Promise<never>;
}

export const SessionContext = createContext<Session | undefined>(undefined);

export function useSession(): Session {
  const session = useContext(SessionContext);
  if (!session) throw new Error('useSession is for what is inside of the session.');
  return session;
}
