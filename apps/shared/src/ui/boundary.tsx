/** Keeps a mistake in one page from taking the app with it. */
import { Button, Text, Title } from '@mantine/core';
import { Component, type ReactNode } from 'react';
import { useT } from '../texts/context';
import classes from './frame.module.css';

export class ErrorBoundary extends Component<{ children: ReactNode }, { failed: boolean }> {
  override state = { failed: false };

  static getDerivedStateFromError(): { failed: boolean } {
    return { failed: true };
  }

  override render(): ReactNode {
    return this.state.failed ? <Crash /> : this.props.children;
  }
}

function Crash() {
  const t = useT();
  return (
    <div className={classes.page}>
      <div className={classes.state} role="alert">
        <Title order={1}>{t('app.crash.title')}</Title>
        <Text c="dimmed">{t('app.crash.text')}</Text>
        {/* A new release takes the files of the one before away: loading anew brings the new ones. */}
        <Button onClick={() => location.reload()}>{t('app.reload')}</Button>
        <a href={import.meta.env.BASE_URL}>{t('app.notFound.home')}</a>
      </div>
    </div>
  );
}
