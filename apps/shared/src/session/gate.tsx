/** Lets people in: finds the session of this tab or leads to the server's sign-in, and shows the app to those who are. */
import { Button, Stack, Text, Title } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useCallback, useEffect, useState, type ReactNode } from 'react';
import type Client from 'fhirclient/lib/Client';
import { FhirClient } from '../fhir/client';
import { follow } from '../fhir/live';
import { relative, split } from '../fhir/values';
import { useT } from '../texts/context';
import { Splash } from '../ui/splash';
import { SessionContext, type Session } from './context';
import { discover, forget, hasSignedOut, homeServer, resume, signIn, signOut, type AppRegistration, type Discovery } from './smart';
import classes from './gate.module.css';

type State = { at: 'starting' } | { at: 'out'; why: 'left' | 'ended' | 'refused' } | { at: 'in'; session: Session };

export function SessionGate({ app, children }: { app: AppRegistration; children: ReactNode }) {
  const [state, setState] = useState<State>({ at: 'starting' });
  const cache = useQueryClient();

  const end = useCallback(
    (why: 'left' | 'ended') => {
      cache.clear();
      setState({ at: 'out', why });
    },
    [cache],
  );

  useEffect(() => {
    let gone = false;
    const start = async () => {
      try {
        const client = await once(app);
        if (gone) return;
        if (client) {
          const session = sessionOf(client, app, end);
          setState({ at: 'in', session });
          // Where the account is kept may be elsewhere; nobody waits for that.
          const { management_endpoint: accountPages } = await discover(session.server).catch((): Discovery => ({}));
          if (!gone && accountPages && accountPages !== session.accountPages) setState((now) => (now.at === 'in' ? { at: 'in', session: { ...session, accountPages } } : now));
        }
        else if (hasSignedOut()) setState({ at: 'out', why: 'left' });
        else await signIn(app);
      } catch {
        if (!gone) setState({ at: 'out', why: 'refused' });
      }
    };
    void start();
    return () => {
      gone = true;
    };
  }, [app, end]);

  const session = state.at === 'in' ? state.session : undefined;
  useEffect(() => {
    if (!session) return undefined;
    const stop = new AbortController();
    let waiting = new Set<string>();
    const tell = () => {
      const types = waiting;
      waiting = new Set();
      for (const type of types) void cache.invalidateQueries({ queryKey: [type] });
    };
    const listener = {
      changed: ({ type }: { type: string }) => {
        // Reading those makes more of them.
        if (type === 'AuditEvent') return;
        // A booking changes several resources at once: one look at all of them is enough.
        if (waiting.size === 0) setTimeout(tell, 150);
        waiting.add(type);
      },
      missed: () => void cache.invalidateQueries(),
    };
    void follow(session.fhir, listener, stop.signal);
    return () => stop.abort();
  }, [session, cache]);

  if (state.at === 'starting') return <Splash />;
  if (state.at === 'out') return <SignedOut why={state.why} onSignIn={() => void signIn(app).catch(() => setState({ at: 'out', why: 'refused' }))} />;
  return <SessionContext value={state.session}>{children}</SessionContext>;
}

let resumed: Promise<Client | undefined> | undefined;

/** A code is good once, and React may start an effect twice. */
function once(app: AppRegistration): Promise<Client | undefined> {
  resumed ??= resume(app);
  return resumed;
}

function sessionOf(client: Client, app: AppRegistration, end: (why: 'left' | 'ended') => void): Session {
  const response = (client.getState('tokenResponse') ?? {}) as Record<string, unknown>;
  const text = (name: string) => (typeof response[name] === 'string' ? response[name] : undefined);
  const reference = relative(client.getFhirUser() ?? undefined) ?? (client.patient.id ? `Patient/${client.patient.id}` : '');
  const who = split(reference);
  if (!who) throw new Error('The server does not say who signed in.');
  const server = client.state.serverUrl.replace(/\/$/, '');
  const token = async () => {
    await client.refreshIfNeeded().catch(() => undefined);
    return client.getState('tokenResponse.access_token') as string | undefined;
  };
  const refused = () => {
    forget();
    end('ended');
  };
  return {
    server,
    fhir: new FhirClient(server, { token, refused }),
    user: { reference, ...who },
    patient: client.patient.id ?? undefined,
    encounter: client.encounter.id ?? undefined,
    intent: text('intent'),
    needsPatientBanner: response.need_patient_banner !== false,
    scopes: (text('scope') ?? '').split(' '),
    accountPages: new URL('/auth/account', server).href,
    token,
    signOut: async () => {
      await signOut(client).catch(() => undefined);
      end('left');
    },
    stepUp: (wanted, returnTo) => signIn(app, { stepUp: wanted, ...(returnTo !== undefined && { returnTo }) }),
  };
}

function SignedOut({ why, onSignIn }: { why: 'left' | 'ended' | 'refused'; onSignIn: () => void }) {
  const t = useT();
  return (
    <main className={classes.out}>
      <Stack gap="md" className={classes.card}>
        <Title order={1}>{t(`session.${why}.title`)}</Title>
        <Text c="dimmed">{t(`session.${why}.text`)}</Text>
        <Button onClick={onSignIn}>{t('session.signIn')}</Button>
        {why === 'left' && (
          <a href={new URL('/auth/account', homeServer()).href}>{t('session.leaveServer')}</a>
        )}
        <a href="/">{t('session.home')}</a>
      </Stack>
    </main>
  );
}
