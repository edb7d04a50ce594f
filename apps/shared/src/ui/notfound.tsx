/** What is at an address where nothing is. */
import { Compass } from 'lucide-react';
import { Link } from 'wouter';
import { useT } from '../texts/context';
import { Page } from './page';
import { Empty } from './state';

export function NotFound() {
  const t = useT();
  return (
    <Page title={t('app.notFound.title')}>
      <Empty
        icon={Compass}
        title={t('app.notFound.title')}
        text={t('app.notFound.text')}
        action={<Link to="/">{t('app.notFound.home')}</Link>}
      />
    </Page>
  );
}
