/** Where one can go. Each page is fetched when it is opened. */
import { useT } from '@medconsult/shared/texts/context';
import { AppFrame } from '@medconsult/shared/ui/frame';
import { NotFound } from '@medconsult/shared/ui/notfound';
import { Splash } from '@medconsult/shared/ui/splash';
import { Building2, ScrollText, Tags } from 'lucide-react';
import { lazy, Suspense } from 'react';
import { Redirect, Route, Switch } from 'wouter';

const Trail = lazy(() => import('./pages/trail'));
const Services = lazy(() => import('./pages/services'));
const ServicePage = lazy(() => import('./pages/service'));
const Practice = lazy(() => import('./pages/practice'));

export function App() {
  const t = useT();
  return (
    <AppFrame
      places={[
        { to: '/trail', label: t('nav.trail'), icon: ScrollText },
        { to: '/services', label: t('nav.services'), icon: Tags },
        { to: '/practice', label: t('nav.practice'), icon: Building2 },
      ]}
    >
      <Suspense fallback={<Splash />}>
        <Switch>
          <Route path="/">
            <Redirect to="/trail" replace />
          </Route>
          <Route path="/trail" component={Trail} />
          <Route path="/services" component={Services} />
          <Route path="/services/:id" component={ServicePage} />
          <Route path="/practice" component={Practice} />
          <Route component={NotFound} />
        </Switch>
      </Suspense>
    </AppFrame>
  );
}
