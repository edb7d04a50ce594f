/** The frame of an app: its name, where one can go (a bar below on phones, at the side else), and the person's menu. */
import type { LucideIcon } from 'lucide-react';
import { lazy, Suspense, useEffect, useRef, useState, type ReactNode } from 'react';
import { Link, useLocation } from 'wouter';
import { useT } from '../texts/context';
import { ErrorBoundary } from './boundary';
import { AccountButton } from './account';
import classes from './frame.module.css';

/** What opens is not needed to begin: with all that it takes to place it, it comes after the first page. */
const AccountMenu = lazy(() => import('./menu'));

export interface Place {
  to: string;
  label: string;
  icon: LucideIcon;
  /** How many things wait there. */
  count?: number | undefined;
}

/**
 * `places`: at most five fit below on a phone. `more`: further ones, which are in the menu there and at the side elsewhere.
 */
export function AppFrame({ places, more = [], children }: { places: Place[]; more?: Place[]; children: ReactNode }) {
  const t = useT();
  const [location] = useLocation();
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);

  // After going elsewhere, reading begins at the top of the new page, for eyes and for screen readers.
  useEffect(() => {
    if (first.current) {
      first.current = false;
      return;
    }
    window.scrollTo(0, 0);
    main.current?.focus({ preventScroll: true });
  }, [location]);

  const here = (to: string) => (to === '/' ? location === '/' : location === to || location.startsWith(`${to}/`));
  const entry = ({ to, label, icon: Icon, count }: Place) => (
    <Link key={to} to={to} className={classes.place} aria-current={here(to) ? 'page' : undefined}>
      <span className={classes.icon}>
        <Icon size={21} aria-hidden="true" />
        {count ? <span className={classes.dot} aria-hidden="true" /> : null}
      </span>
      <span>{label}</span>
      {count ? <span className={classes.count}>{count}</span> : null}
    </Link>
  );

  return (
    <div className={classes.frame}>
      <a href="#content" className={classes.skip}>
        {t('app.skip')}
      </a>
      <header className={classes.header}>
        <Link to="/" className={classes.brand}>
          <Mark /> MedConsult
        </Link>
        <Suspense fallback={<AccountButton />}>
          <AccountMenu more={more} />
        </Suspense>
      </header>
      <nav className={classes.nav} aria-label={t('app.menu')}>
        {places.map(entry)}
        <div className={classes.further}>{more.map(entry)}</div>
      </nav>
      <main id="content" className={classes.main} tabIndex={-1} ref={main}>
        <Offline />
        <ErrorBoundary key={location}>{children}</ErrorBoundary>
      </main>
    </div>
  );
}

/** Our sign: a speech bubble with a pulse. */
export function Mark() {
  return (
    <svg width="28" height="28" viewBox="0 0 28 28" aria-hidden="true" focusable="false">
      <path d="M5 2h18a4 4 0 0 1 4 4v12a4 4 0 0 1-4 4h-8l-6 5v-5H5a4 4 0 0 1-4-4V6a4 4 0 0 1 4-4z" fill="var(--mc-accent)" />
      <path d="M5 12.5h4.5l2-5 4 9.500 2.500-6 1 1.500h4" fill="none" stroke="var(--mc-surface)" strokeWidth="2" strokeLinecap="round" strokeLinejoin="round" />
    </svg>
  );
}

/** Says so while there is no connection. */
export function Offline() {
  const t = useT();
  const [offline, setOffline] = useState(!navigator.onLine);
  useEffect(() => {
    const look = () => setOffline(!navigator.onLine);
    window.addEventListener('online', look);
    window.addEventListener('offline', look);
    return () => {
      window.removeEventListener('online', look);
      window.removeEventListener('offline', look);
    };
  }, []);
  return <div role="status">{offline && <p className={classes.offline}>{t('app.offline')}</p>}</div>;
}
