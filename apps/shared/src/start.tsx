/** Starts an app: what stands around all of its pages, from the outside in. */
import './theme/mantine.css';
import './theme/tokens.css';
import { MantineProvider } from '@mantine/core';
import { QueryClientProvider } from '@tanstack/react-query';
import { StrictMode, Suspense, type ComponentType } from 'react';
import { createRoot } from 'react-dom/client';
import { Router } from 'wouter';
import { newCache } from './fhir/hooks';
import { PersonProvider } from './format/context';
import { SessionGate } from './session/gate';
import type { AppRegistration } from './session/smart';
import type { Sources } from './texts/catalogue';
import { TextsProvider } from './texts/context';
import { theme } from './theme/theme';
import { ErrorBoundary } from './ui/boundary';
import { Splash } from './ui/splash';
import { Toasts } from './ui/toast';

export interface AppDefinition {
  registration: AppRegistration;
  texts: Sources;
  App: ComponentType;
}

/** The word by which the server lets styles in that components make while they run. */
const nonce = document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce ?? '';
// Where a dialog keeps the page behind it from scrolling, a library looks for it here.
Object.assign(globalThis, { __webpack_nonce__: nonce });

export function startApp({ registration, texts, App }: AppDefinition): void {
  const root = document.getElementById('root');
  if (!root) throw new Error('The page has no #root.');
  createRoot(root).render(
    <StrictMode>
      <MantineProvider theme={theme} defaultColorScheme="auto" getStyleNonce={() => nonce}>
        <QueryClientProvider client={newCache()}>
          <TextsProvider sources={texts}>
            <ErrorBoundary>
              <SessionGate app={registration}>
                <PersonProvider>
                  <Router base={import.meta.env.BASE_URL.replace(/\/$/, '')}>
                    <Suspense fallback={<Splash />}>
                      <App />
                    </Suspense>
                  </Router>
                </PersonProvider>
              </SessionGate>
              <Toasts />
            </ErrorBoundary>
          </TextsProvider>
        </QueryClientProvider>
      </MantineProvider>
    </StrictMode>,
  );
}
